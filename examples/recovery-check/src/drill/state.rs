//! What a drill keeps in its file between its steps.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use evenkeel::Secret;
use evenkeel::wire::AiScope;
use evenkeel_proto::wire::EdgeMetrics;
use serde::{Deserialize, Serialize};

use super::report::Verdict;
use crate::exit::Failed;
use crate::status_line::wall_ms;

/// A drill under way.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct State {
    version: u32,
    /// Whose drill it is: steps against another edge are refused.
    edge: String,
    /// Before the first session was opened.
    pub(super) begun_at_ms: u64,
    /// What the edge had counted by then.
    pub(super) counters: EdgeMetrics,
    /// All sessions were opened and worked. A file without this only says what there is to be closed.
    pub(super) ready: bool,
    pub(super) sessions: Vec<Session>,
    /// When a check passed for the first time: the change had happened by then.
    pub(super) first_pass_ms: Option<u64>,
    pub(super) last_check: Option<Checked>,
    /// When it was found that the overlap may go.
    pub(super) finished_at_ms: Option<u64>,
}

/// A session that was opened before the change.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) scope: AiScope,
    /// A device's session is known by its cookie.
    pub(super) cookie: Option<Secret>,
    /// Opened by the drill, and to be closed by it.
    pub(super) ours: bool,
    /// On the service's clock: an account that has connected anew since has another one.
    pub(super) connected_at_ms: Option<i64>,
    /// How long a device's lives.
    pub(super) lives_ms: Option<u64>,
    pub(super) key: Key,
}

/// Under which secret a session's key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Key {
    /// Under the one that was active when the drill began.
    Old,
    /// It was used where the counters could not be seen, or said nothing certain.
    Unsure,
    /// A check has seen it move.
    Moved,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Checked {
    pub(super) at_ms: u64,
    pub(super) verdict: Verdict,
}

impl State {
    pub(super) const fn new(edge: String, begun_at_ms: u64, counters: EdgeMetrics) -> Self {
        Self {
            version: VERSION,
            edge,
            begun_at_ms,
            counters,
            ready: false,
            sessions: Vec::new(),
            first_pass_ms: None,
            last_check: None,
            finished_at_ms: None,
        }
    }

    /// The drill in `file`, which has to be one of this edge's, and begun to its end.
    pub(super) fn read_begun(file: &Path, edge: &str) -> Result<Self, Failed> {
        let state = Self::read(file, edge)?;
        if state.ready {
            return Ok(state);
        }
        Err(Failed::configuration(format!(
            "--state {}: `begin` was cut off; begin again with --force, which closes what that one opened",
            file.display()
        )))
    }

    /// The drill in `file`, which has to be one of this edge's.
    pub(super) fn read(file: &Path, edge: &str) -> Result<Self, Failed> {
        let wrong =
            |why: String| Failed::configuration(format!("--state {}: {why}", file.display()));
        let mut text = String::new();
        let reading =
            fs::File::open(file).and_then(|open| open.take(BYTES_MAX).read_to_string(&mut text));
        reading.map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => wrong(
                "there is no such file; begin the drill: recovery-check drill rotation begin"
                    .into(),
            ),
            _ => wrong(format!("cannot be read: {e}")),
        })?;
        // What serde says of it could hold a piece of the cookie.
        let not_ours = || {
            wrong(
                "this is not a drill's file, or it was damaged; begin anew with another file"
                    .into(),
            )
        };
        let value: serde_json::Value = serde_json::from_str(&text).map_err(|_| not_ours())?;
        if value["version"]
            .as_u64()
            .is_some_and(|v| v > VERSION.into())
        {
            return Err(wrong(
                "a newer recovery-check wrote it; use that one".into(),
            ));
        }
        let state: Self = serde_json::from_value(value).map_err(|_| not_ours())?;
        if state.version != VERSION || (state.ready && state.sessions.is_empty()) {
            return Err(not_ours());
        }
        if state.edge != edge {
            return Err(wrong(format!(
                "this drill was begun with {}, not with {edge}; give that one with --edge, or another file",
                state.edge
            )));
        }
        let latest = state.last_check.as_ref().map_or(0, |check| check.at_ms);
        if wall_ms() < state.begun_at_ms.max(latest) {
            return Err(wrong(
                "it was written later than this machine's clock says it is; set the clock right"
                    .into(),
            ));
        }
        Ok(state)
    }

    /// Puts the drill in the place of what is in `file`, whole or not at all.
    pub(super) fn write(&self, file: &Path) -> Result<(), Failed> {
        let new = file.with_extension(format!("new-{}", std::process::id()));
        let written = self.write_to(&new).and_then(|()| fs::rename(&new, file));
        written.map_err(|e| {
            // It may not be there; there is nothing more to be done about it.
            let _ = fs::remove_file(&new);
            Failed::configuration(format!(
                "--state {}: cannot be written: {e}; make room or rights, or give another file",
                file.display()
            ))
        })
    }

    fn write_to(&self, path: &Path) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut open = options.open(path)?;
        open.write_all(&serde_json::to_vec_pretty(self)?)?;
        open.sync_all()
    }
}

const VERSION: u32 = 1;
const BYTES_MAX: u64 = 1 << 20;
