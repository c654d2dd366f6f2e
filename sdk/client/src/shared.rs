//! What the handles, the actor and its requests have in common.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_proto::Timestamp;
use evenkeel_proto::engine::{Backlog, Floors};
use tokio::runtime::Handle;
use tokio::sync::{broadcast, watch};

use crate::ai::AiClient;
use crate::changes::Change;
use crate::diagnostics::{Journal, Lane, Settings};
use crate::guard::{caught_now, locked};
use crate::mailbox::{Command, Mailbox, Network};
use crate::replica::Replica;
use crate::settings::{Limits, Timeouts};
use crate::state::{FloorFile, Moment, Until};
use crate::status::Status;
use crate::token::Tokens;
use crate::transport::Transport;

pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) limits: Limits,
    pub(crate) timeouts: Timeouts,
    pub(crate) seed: Mutex<fastrand::Rng>,
    pub(crate) transport: Transport,
    pub(crate) tokens: Arc<Tokens>,
    /// Made when the app first asks for it.
    pub(crate) ai: Mutex<Option<AiClient>>,
    pub(crate) replica: Arc<dyn Replica>,
    pub(crate) floor_file: Option<FloorFile>,
    /// What the next run of the actor has to respect.
    pub(crate) floors: Mutex<Until>,
    /// Until when the service wants no requests of the app's own.
    pub(crate) asked_to_wait: Mutex<Timestamp>,
    pub(crate) mailbox: Mailbox,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) changes: broadcast::Sender<Change>,
    pub(crate) journal: Mutex<Journal>,
    pub(crate) hints: Mutex<Hints>,
    pub(crate) wakes: Mutex<Wakes>,
    pub(crate) caught_up: watch::Sender<CaughtUp>,
    /// How many tasks of each lane there are, those that were given up included.
    pub(crate) at_work: Mutex<BTreeMap<Lane, u32>>,
    /// Where the actor was last spawned.
    pub(crate) runtime: Mutex<Option<Handle>>,
}

/// What the app last said about the world; it holds for the next run too.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hints {
    pub(crate) network: Option<Network>,
    pub(crate) foreground: Option<bool>,
}

/// The background wake-ups under way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wakes {
    pub(crate) count: u32,
    /// What to do when the last of them is over.
    pub(crate) after: Option<Command>,
    /// The app suspended the client.
    pub(crate) suspended: bool,
}

/// How often pulls began, and which one last ended with an empty page.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CaughtUp {
    pub(crate) pulls_begun: u64,
    pub(crate) emptied: u64,
    /// While another process syncs: the question that was last put to it, if that worked.
    pub(crate) question: Option<u64>,
    /// Up to which question it has answered.
    pub(crate) answered: u64,
}

impl Shared {
    pub(crate) fn floors_left(&self) -> Floors {
        locked(&self.floors).left(Moment::now())
    }

    /// How many things wait; what was known last where the replica panics.
    pub(crate) fn backlog(&self) -> Backlog {
        caught_now(|| self.replica.backlog()).unwrap_or_else(|_| {
            tracing::error!(target: "evenkeel", "the replica panicked");
            let status = self.status.borrow();
            Backlog {
                waiting: status.pending,
                conflicts: status.conflicts,
                rejected: status.rejected,
                level: status.outbox,
            }
        })
    }

    /// The replica was written to by the app.
    pub(crate) fn local_write(&self, change: Option<Change>) {
        if let Some(change) = change {
            self.announce([change]);
        }
        self.mailbox.post(Command::LocalWrite);
        if !self.mailbox.is_running() {
            let backlog = self.backlog();
            self.status.send_modify(|status| status.count(backlog));
        }
    }

    /// Returns when the actor has done everything up to this number, or has ended.
    pub(crate) async fn settled(&self, number: u64) {
        let mut progress = self.mailbox.progress();
        // The sender lives as long as `self`.
        let _ = progress
            .wait_for(|progress| progress.settled >= number || !progress.running)
            .await;
    }

    /// What the work comes to; `None` if it takes longer. Works outside of a runtime too, on the
    /// timers of the one that the actor runs on.
    pub(crate) async fn timer<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let runtime = Handle::try_current().ok();
        let runtime = runtime.or_else(|| locked(&self.runtime).clone());
        let limit = limit.min(TIMER_MAX);
        let sleep = runtime.map(|runtime| {
            let _inside = runtime.enter();
            tokio::time::sleep(limit)
        });
        let Some(sleep) = sleep else {
            return Some(work.await);
        };
        tokio::select! {
            biased;
            done = work => Some(done),
            () = sleep => None,
        }
    }

    pub(crate) fn lanes_at_work(&self) -> Vec<Lane> {
        locked(&self.at_work).keys().copied().collect()
    }

    /// Tells whoever listens; nobody has to.
    pub(crate) fn announce(&self, changes: impl IntoIterator<Item = Change>) {
        for change in changes {
            let _ = self.changes.send(change);
        }
    }
}

/// Counts a task of a lane for as long as it lives.
pub(crate) struct AtWork {
    shared: Arc<Shared>,
    lane: Lane,
}

impl AtWork {
    pub(crate) fn begin(shared: &Arc<Shared>, lane: Lane) -> Self {
        *locked(&shared.at_work).entry(lane).or_default() += 1;
        Self {
            shared: Arc::clone(shared),
            lane,
        }
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let mut at_work = locked(&self.shared.at_work);
        if let Some(count) = at_work.get_mut(&self.lane) {
            *count -= 1;
            if *count == 0 {
                at_work.remove(&self.lane);
            }
        }
    }
}

/// Longer than any wake-up; tokio's timers have an end.
const TIMER_MAX: Duration = Duration::from_secs(24 * 3600);
