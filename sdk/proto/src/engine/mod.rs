//! The state machine that decides everything: what to send, when, and what to tell the app.

mod io;

use std::time::Duration;

pub use io::{Backlog, Floors, Hint, Input, Output, Pulled, RequestId, StreamEvent, TokenError};

use crate::time::Timestamp;
use crate::wire::Cursor;

/// What the engine starts with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Seed of all jitter; two clients must not share one.
    pub seed: u64,
    /// How far the replica has come; `None` for one that never synced.
    pub cursor: Option<Cursor>,
    /// What waits in the outbox.
    pub backlog: Backlog,
    /// What the last run had to respect.
    pub floors: Floors,
    /// How long `syncing` must last before it is published after `synced`. 300 ms.
    pub quiet: Duration,
    /// Limit from a ticket's or stream's request to its headers. 15 s.
    pub stream_headers_timeout: Duration,
    /// Limit from a pull's, snapshot's or push's request to its answer. 65 s.
    pub data_timeout: Duration,
    /// Limit from a stream's headers to its `ready` event. 10 s.
    pub ready_timeout: Duration,
    /// Requests a minute that the client never exceeds in the long run (with bursts of half as
    /// many); well under the origin's limit of 180. 80.
    pub requests_per_minute: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 0,
            cursor: None,
            backlog: Backlog::default(),
            floors: Floors::default(),
            quiet: Duration::from_millis(300),
            stream_headers_timeout: Duration::from_secs(15),
            data_timeout: Duration::from_secs(65),
            ready_timeout: Duration::from_secs(10),
            requests_per_minute: 80,
        }
    }
}

/// One client's brain. Methods come in three kinds: `handle_*` (something happened), `poll_*` (what to
/// do now, and when to come back), and getters. After each `handle_*`, drain [`Engine::poll_output`],
/// then sleep until [`Engine::poll_timeout`].
#[derive(Debug)]
pub struct Engine {
    config: Config,
}

impl Engine {
    /// An engine that does nothing until [`Input::Start`].
    #[must_use]
    pub fn new(now: Timestamp, config: Config) -> Self {
        let _ = now;
        Self { config }
    }

    /// Something happened.
    pub fn handle_input(&mut self, now: Timestamp, input: Input) {
        let _ = (now, input, &self.config);
    }

    /// The time that [`Engine::poll_timeout`] named has come (harmless when it has not).
    pub fn handle_timeout(&mut self, now: Timestamp) {
        let _ = now;
    }

    /// The next thing to do; `None` when there is nothing now.
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    /// When to call [`Engine::handle_timeout`]; `None` for "not before the next input".
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        None
    }

    /// What to keep over a restart.
    #[must_use]
    pub fn floors(&self, now: Timestamp) -> Floors {
        let _ = now;
        Floors::default()
    }
}
