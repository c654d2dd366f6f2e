//! A client in a process of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::{Accepted, SETTLE_WITHIN, Way};
use crate::program;

/// The notes app, as a client in a process of its own that is given a line at a time.
#[derive(Debug)]
pub struct Outsider {
    /// The process.
    pub child: Child,
    input: Option<ChildStdin>,
    feeding: Option<JoinHandle<ChildStdin>>,
    reading: JoinHandle<Accepted>,
    notes: Notes,
}

/// How the notes app is called.
#[derive(Clone, Debug)]
struct Notes {
    program: PathBuf,
    url: String,
    store: PathBuf,
    environment: Vec<(String, String)>,
}

impl Notes {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(["--json", "--url", &self.url, "--store"])
            .arg(&self.store)
            .args(args)
            .env("EVENKEEL_TOKEN", "demo-token")
            .envs(self.environment.iter().cloned())
            .kill_on_drop(true);
        command
    }
}

impl Outsider {
    pub(super) fn start(way: &Way<'_>, folder: &Path) -> Self {
        let notes = Notes {
            program: program("evenkeel-notes", "notes"),
            url: way.url.to_owned(),
            store: folder.join("outsider.db"),
            environment: way
                .environment
                .iter()
                .map(|&(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        };
        let child = notes
            .command(&["add", "-", "--wait", "150"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.unwrap_or_else(|error| panic!("notes: {error}"));
        let input = child.stdin.take();
        let Some(output) = child.stdout.take() else {
            panic!("notes has no output")
        };
        let reading = tokio::spawn(async move {
            let mut accepted = Accepted::new();
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                // A process that is killed may leave half a line.
                let Ok(event) = serde_json::from_str::<Value>(&line) else {
                    continue;
                };
                if let ("written", Some(id)) =
                    (event["event"].as_str().unwrap_or(""), event["id"].as_str())
                {
                    let content = format!("outsider wrote {}", accepted.len());
                    accepted.insert(id.to_owned(), vec![content]);
                }
            }
            accepted
        });
        Self {
            child,
            input,
            feeding: None,
            reading,
            notes,
        }
    }

    pub(super) fn write(&mut self) {
        let Some(mut input) = self.input.take() else {
            return;
        };
        self.feeding = Some(tokio::spawn(async move {
            for number in 0_u64.. {
                let line = format!("outsider wrote {number}\n");
                if input.write_all(line.as_bytes()).await.is_err() {
                    break;
                }
                sleep(Duration::from_millis(300)).await;
            }
            input
        }));
    }

    /// No more lines; it ends by itself once everything was answered for.
    pub(super) fn hush(&mut self) {
        if let Some(feeding) = self.feeding.take() {
            // The input goes with the task.
            feeding.abort();
        }
    }

    pub(super) async fn settle(self) -> Accepted {
        let Self {
            child,
            reading,
            notes,
            ..
        } = self;
        let ended = timeout(SETTLE_WITHIN, child.wait_with_output()).await;
        let ended = ended.unwrap_or_else(|_| panic!("notes does not end"));
        let ended = ended.unwrap_or_else(|error| panic!("notes: {error}"));
        // Killed is what some scenarios do to it; what it had accepted is still there.
        if ended.status.code().is_some() {
            let complaints = String::from_utf8_lossy(&ended.stderr);
            assert!(ended.status.success(), "notes: {complaints}");
        }
        let synced = notes.command(&["sync", "--wait", "100"]).output().await;
        let synced = synced.unwrap_or_else(|error| panic!("notes: {error}"));
        let complaints = String::from_utf8_lossy(&synced.stderr);
        assert!(synced.status.success(), "notes sync: {complaints}");
        let accepted = reading.await;
        accepted.unwrap_or_else(|error| panic!("notes: {error}"))
    }
}
