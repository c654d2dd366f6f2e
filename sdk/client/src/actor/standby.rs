//! Before the engine: waits until this process is the one that syncs the store, and meanwhile shows
//! what the one that does says.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_proto::{Failure, Lifecycle};
use tokio::time::Instant;

use super::{Begun, read_position, tasks};
use crate::diagnostics::Lane;
use crate::guard::locked;
use crate::mailbox::Command;
use crate::replica::{Hold, Lease};
use crate::shared::{AtWork, Shared};
use crate::status::Told;

/// Ends when this process may sync, or there is nothing more to do. `settling` are commands that are
/// done with what is shown first.
pub(super) async fn begin(shared: &Arc<Shared>, settling: Option<u64>) -> Begun {
    let Some(lease) = shared.replica.lease() else {
        return read_position(shared, settling).await;
    };
    let mut standby = Standby {
        shared,
        lease,
        doing: Doing::Holding(hold(lease)),
        wanted: false,
        asking: None,
        settling,
        shown: None,
    };
    match standby.run().await {
        Some(end) => end,
        None => read_position(shared, standby.settling).await,
    }
}

struct Standby<'a> {
    shared: &'a Arc<Shared>,
    lease: &'a dyn Lease,
    doing: Doing<'a>,
    /// The app wants a sync now, and the holder was not asked yet.
    wanted: bool,
    asking: Option<Asking<'a, u64>>,
    settling: Option<u64>,
    /// What the other process said, as it was last shown.
    shown: Option<Option<String>>,
}

enum Doing<'a> {
    Holding(Asking<'a, Hold>),
    Napping(Instant),
    Suspending(Asking<'a, ()>),
    Suspended,
}

/// A question to the replica; its panic is a failure like any other.
pub(super) type Asking<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'a>>;

pub(super) fn hold(lease: &dyn Lease) -> Asking<'_, Hold> {
    Box::pin(tasks::replica(|| lease.hold()))
}

pub(super) fn suspend(lease: &dyn Lease) -> Asking<'_, ()> {
    Box::pin(tasks::replica(|| lease.suspend()))
}

impl Standby<'_> {
    /// `None` when the lease is ours.
    async fn run(&mut self) -> Option<Begun> {
        loop {
            let shared = self.shared;
            tokio::select! {
                () = shared.mailbox.posted() => {
                    if shared.mailbox.is_closed() {
                        return Some(Begun::Dropped);
                    }
                    if let Some(end) = self.obey() {
                        return Some(end);
                    }
                }
                asked = put(&mut self.asking), if self.asking.is_some() => self.on_asked(asked),
                done = step(&mut self.doing) => {
                    if self.on_done(done) {
                        self.forget_question();
                        return None;
                    }
                }
            }
        }
    }

    fn obey(&mut self) -> Option<Begun> {
        let (commands, number) = self.shared.mailbox.take();
        for command in commands {
            tracing::debug!(target: "evenkeel", ?command, "told by the app");
            match command {
                Command::Start | Command::Resume => {
                    if let Doing::Suspending(_) | Doing::Suspended = self.doing {
                        self.doing = Doing::Holding(hold(self.lease));
                    }
                }
                Command::Suspend => {
                    if !matches!(self.doing, Doing::Suspended) {
                        let at_work = AtWork::begin(self.shared, Lane::Store);
                        let suspending = suspend(self.lease);
                        self.doing = Doing::Suspending(Box::pin(async move {
                            let _at_work = at_work;
                            suspending.await
                        }));
                    }
                }
                Command::Stop => return Some(Begun::Stopped(number)),
                Command::LocalWrite => {
                    let backlog = self.shared.backlog();
                    self.shared.status.send_modify(|s| s.count(backlog));
                }
                Command::SyncNow => {
                    self.wanted = true;
                    self.forget_question();
                }
                // Hints are kept, for the time when this process syncs.
                Command::Network(_)
                | Command::Foreground(_)
                | Command::TokenChanged
                | Command::RetryNow => {}
            }
        }
        self.settling = self.settling.max(Some(number));
        self.ask();
        self.settle();
        None
    }

    /// Whether the lease is ours.
    fn on_done(&mut self, done: Done) -> bool {
        match done {
            Done::Held(Ok(Hold::Ours { .. })) => return true,
            Done::Held(Ok(Hold::Theirs { status, answered })) => {
                self.show(status);
                let caught_up = &self.shared.caught_up;
                caught_up
                    .send_if_modified(|c| std::mem::replace(&mut c.answered, answered) != answered);
                self.nap(LOOK_EVERY);
                self.ask();
            }
            Done::Held(Err(failure)) => {
                tracing::warn!(target: "evenkeel", message = failure.message, "no store to sync");
                self.shown = None;
                let status = &self.shared.status;
                status.send_modify(|s| s.no_store(&failure, RETRY_AFTER));
                self.nap(RETRY_AFTER);
            }
            Done::Suspended(suspended) => {
                if let Err(failure) = suspended {
                    tracing::warn!(target: "evenkeel", message = failure.message, "not closed");
                }
                self.shown = None;
                let status = &self.shared.status;
                status.send_modify(|s| s.rest(Lifecycle::Suspended));
                self.doing = Doing::Suspended;
            }
            Done::Napped => self.doing = Doing::Holding(hold(self.lease)),
        }
        self.settle();
        false
    }

    /// Puts the app's wish to the holder, once it is known that there is one.
    fn ask(&mut self) {
        let follows = matches!(self.doing, Doing::Napping(_)) && self.shown.is_some();
        if follows && self.asking.is_none() && std::mem::take(&mut self.wanted) {
            let lease = self.lease;
            self.asking = Some(Box::pin(tasks::replica(|| lease.ask())));
        }
    }

    fn forget_question(&self) {
        self.shared.caught_up.send_modify(|c| c.question = None);
    }

    fn on_asked(&mut self, asked: Result<u64, Failure>) {
        self.asking = None;
        if let Err(failure) = &asked {
            tracing::debug!(target: "evenkeel", message = failure.message, "nobody was asked");
        }
        // Put before the latest wish, it says nothing about that.
        let question = asked.ok().filter(|_| !self.wanted);
        self.shared.caught_up.send_modify(|c| c.question = question);
        self.ask();
        self.settle();
    }

    fn nap(&mut self, span: Duration) {
        self.doing = Doing::Napping(Instant::now() + span);
    }

    fn show(&mut self, told: Option<String>) {
        if self.shown.as_ref() == Some(&told) {
            return;
        }
        let seen = told.as_deref().and_then(Told::parse);
        let backlog = self.shared.backlog();
        self.shared.status.send_modify(|status| match seen {
            Some(seen) => *status = seen.seen(backlog, status.version + 1),
            None => status.follow(),
        });
        locked(&self.shared.journal).published(&self.shared.status.borrow());
        self.shown = Some(told);
    }

    fn settle(&mut self) {
        if let Doing::Napping(_) | Doing::Suspended = self.doing
            && self.asking.is_none()
            && let Some(number) = self.settling.take()
        {
            self.shared.mailbox.settle(number);
        }
    }
}

/// Cancel-safe, as [`step`] is.
async fn put(asking: &mut Option<Asking<'_, u64>>) -> Result<u64, Failure> {
    match asking {
        Some(asking) => asking.await,
        None => std::future::pending().await,
    }
}

enum Done {
    Held(Result<Hold, Failure>),
    Suspended(Result<(), Failure>),
    Napped,
}

/// Cancel-safe: what was asked goes on with the next call.
async fn step(doing: &mut Doing<'_>) -> Done {
    match doing {
        Doing::Holding(asking) => Done::Held(asking.await),
        Doing::Suspending(asking) => Done::Suspended(asking.await),
        Doing::Napping(until) => {
            tokio::time::sleep_until(*until).await;
            Done::Napped
        }
        Doing::Suspended => std::future::pending().await,
    }
}

/// Lets the lease go when the client ends.
pub(super) async fn release(shared: &Arc<Shared>) {
    if let Some(lease) = shared.replica.lease()
        && let Err(failure) = tasks::replica(|| lease.release()).await
    {
        tracing::debug!(target: "evenkeel", message = failure.message, "the lease stays");
    }
}

/// The same where nobody can wait: the question is put, and not listened to.
pub(super) fn release_unheard(shared: &Arc<Shared>) {
    let mut releasing = std::pin::pin!(release(shared));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let _ = releasing.as_mut().poll(&mut context);
}

const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A store that cannot be opened is tried again after this long.
const RETRY_AFTER: Duration = Duration::from_secs(5);
