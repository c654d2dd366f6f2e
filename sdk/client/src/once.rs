//! One sync for a background wake-up.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_proto::{Ask, Cause, SyncState};
use tokio::runtime::Handle;

use crate::client;
use crate::clock;
use crate::error::{StartError, SyncOnceError};
use crate::guard::locked;
use crate::mailbox::{Command, Posted};
use crate::shared::Shared;
use crate::status::Status;

/// What a [`sync_once`](crate::SyncClient::sync_once) did.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct SyncReport {
    /// How many changes of the server were applied.
    pub changes_applied: u64,
    /// How things stood at its end.
    pub status: Status,
}

pub(crate) async fn run(
    shared: &Arc<Shared>,
    deadline: Duration,
) -> Result<SyncReport, SyncOnceError> {
    let until = clock::now() + deadline;
    let begun = shared.caught_up.borrow().pulls_begun;
    let applied = locked(&shared.journal).changes_applied;
    let awake = Awake::begin(shared)?;
    let report = || SyncReport {
        changes_applied: locked(&shared.journal).changes_applied - applied,
        status: shared.status.borrow().clone(),
    };
    let waiting = async {
        let mut question = ask(shared).await;
        let mut asked_at = clock::now();
        let mut statuses = shared.status.subscribe();
        let mut caught_up = shared.caught_up.subscribe();
        let mut progress = shared.mailbox.progress();
        loop {
            if !progress.borrow_and_update().running || awake.is_interrupted() {
                return Err(SyncOnceError::Interrupted);
            }
            let status = statuses.borrow_and_update().clone();
            let follows = !status.syncs_here;
            if follows && question.is_none() {
                question = ask(shared).await;
                asked_at = clock::now();
            }
            let known = *caught_up.borrow_and_update();
            let answered = question.is_some_and(|question| known.answered >= question);
            let up_to_date = known.emptied > begun || answered;
            if up_to_date && shared.backlog().waiting == 0 {
                return Ok(());
            }
            // What another process says at first, it said before it was asked.
            let current = !follows || clock::now().since(asked_at) >= HEARD_WITHIN;
            if current && is_hopeless(&status, until.since(clock::now())) {
                let status = Box::new(status);
                return Err(SyncOnceError::Failed { status });
            }
            tokio::select! {
                _ = statuses.changed() => {}
                _ = caught_up.changed() => {}
                _ = progress.changed() => {}
                _ = shared.timer(LOOK_EVERY, std::future::pending::<()>()), if follows => {}
            }
        }
    };
    let done = shared.timer(deadline, waiting).await;
    let outcome = match done {
        Some(Ok(())) => Ok(report()),
        Some(Err(error)) => Err(error),
        None => Err(SyncOnceError::Deadline {
            status: Box::new(report().status),
        }),
    };
    // The system may freeze the app as soon as this returns: better with nothing open.
    if let Some(number) = awake.rest() {
        let left = until.since(clock::now());
        shared.timer(left, shared.settled(number)).await;
    }
    outcome
}

/// Asks for a sync, and returns when that is under way: here, or as the question of this number in the
/// process that syncs the store.
async fn ask(shared: &Shared) -> Option<u64> {
    if let Posted::Number(number) = shared.mailbox.post(Command::SyncNow) {
        shared.settled(number).await;
    }
    shared.caught_up.borrow().question
}

/// Whether nothing will change in time. Without a next attempt there is one under way, unless only
/// the app or the network can bring one.
fn is_hopeless(status: &Status, left: Duration) -> bool {
    let blocked = matches!(status.ask, Ask::SignIn | Ask::DeviceRevoked)
        || status.cause == Some(Cause::Offline);
    let too_late = status.next_attempt_in().is_some_and(|wait| wait > left);
    status.state == SyncState::Degraded && (blocked || too_late)
}

/// Keeps the client at work, and puts it back to rest afterwards if that is where it was.
struct Awake<'a> {
    shared: &'a Arc<Shared>,
    over: bool,
}

impl<'a> Awake<'a> {
    fn begin(shared: &'a Arc<Shared>) -> Result<Self, StartError> {
        let mut wakes = locked(&shared.wakes);
        if !shared.mailbox.is_running() {
            let runtime = Handle::try_current().map_err(|_| StartError::NoRuntime)?;
            wakes.after = Some(Command::Stop);
            wakes.suspended = false;
            client::spawn(shared, &runtime);
        } else if wakes.suspended {
            wakes.after = Some(Command::Suspend);
            wakes.suspended = false;
            shared.mailbox.post(Command::Resume);
        }
        wakes.count += 1;
        Ok(Self {
            shared,
            over: false,
        })
    }

    /// The app suspended the client under our feet.
    fn is_interrupted(&self) -> bool {
        locked(&self.shared.wakes).suspended
    }

    /// Puts the client back to rest; the command's number if that takes one.
    fn rest(mut self) -> Option<u64> {
        self.end()
    }

    fn end(&mut self) -> Option<u64> {
        if std::mem::replace(&mut self.over, true) {
            return None;
        }
        let mut wakes = locked(&self.shared.wakes);
        wakes.count -= 1;
        if wakes.count > 0 {
            return None;
        }
        let command = wakes.after.take()?;
        wakes.suspended = command == Command::Suspend;
        match self.shared.mailbox.post(command) {
            Posted::Number(number) => Some(number),
            _ => None,
        }
    }
}

impl Drop for Awake<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// While another process syncs, its progress is looked at so often.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// By then it has heard the question, and shown what came of it.
const HEARD_WITHIN: Duration = Duration::from_secs(2);
