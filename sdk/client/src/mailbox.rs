//! What the app tells the actor. One slot per kind, so that nothing an app does can make it grow: of
//! two equal commands the later one counts.

use std::sync::Mutex;

use tokio::sync::{Notify, watch};

use crate::guard::locked;

/// The state of the system's network, as the app knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// There is one, or it changed.
    Up,
    /// There is one that costs the user money: the client polls less often.
    Metered,
    /// There is none: the client sends nothing.
    Down,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Start,
    Stop,
    Suspend,
    Resume,
    Network(Network),
    Foreground(bool),
    TokenChanged,
    RetryNow,
    SyncNow,
    LocalWrite,
}

/// How far the actor has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// Every command up to this number has had its whole effect.
    pub(crate) settled: u64,
    pub(crate) running: bool,
}

#[derive(Debug)]
pub(crate) struct Mailbox {
    inner: Mutex<Inner>,
    posted: Notify,
    progress: watch::Sender<Progress>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Each with its number.
    commands: Vec<(u64, Command)>,
    /// How many were ever posted.
    count: u64,
    running: bool,
    /// Which run this is; a run that is over has no say in the next one.
    run: u64,
    closed: bool,
}

/// What [`Mailbox::post`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Posted {
    /// The actor will see it; it is settled when the progress reaches this number.
    Number(u64),
    /// No actor runs, and none is needed for it.
    Idle,
    /// No actor runs: the caller has to spawn one, for this run.
    Spawn(u64),
}

impl Mailbox {
    pub(crate) fn new() -> Self {
        Self {
            inner: Mutex::default(),
            posted: Notify::new(),
            progress: watch::Sender::new(Progress::default()),
        }
    }

    pub(crate) fn post(&self, command: Command) -> Posted {
        let mut inner = locked(&self.inner);
        let ends = matches!(command, Command::Stop | Command::Suspend | Command::Resume);
        if ends && !inner.running {
            return Posted::Idle;
        }
        let kind = std::mem::discriminant(&command);
        inner
            .commands
            .retain(|(_, known)| std::mem::discriminant(known) != kind);
        inner.count += 1;
        let number = inner.count;
        inner.commands.push((number, command));
        if command == Command::Start && !inner.running && !inner.closed {
            inner.running = true;
            inner.run += 1;
            self.progress
                .send_modify(|progress| progress.running = true);
            return Posted::Spawn(inner.run);
        }
        drop(inner);
        self.posted.notify_one();
        Posted::Number(number)
    }

    /// The commands so far, up to the first stop: what comes after it is for another run. With the
    /// number up to which they go.
    pub(crate) fn take(&self) -> (Vec<Command>, u64) {
        let mut inner = locked(&self.inner);
        let stop = inner
            .commands
            .iter()
            .position(|(_, command)| *command == Command::Stop);
        let end = stop.map_or(inner.commands.len(), |at| at + 1);
        let (numbers, taken): (Vec<u64>, Vec<_>) = inner.commands.drain(..end).unzip();
        (taken, numbers.last().copied().unwrap_or(0))
    }

    /// Takes everything up to a stop, if one waits; its number.
    pub(crate) fn take_stop(&self) -> Option<u64> {
        let stopping = {
            let inner = locked(&self.inner);
            inner.commands.iter().any(|(_, c)| *c == Command::Stop)
        };
        stopping.then(|| self.take().1)
    }

    /// Returns when something was posted, or the client was dropped. Cancel-safe.
    pub(crate) async fn posted(&self) {
        self.posted.notified().await;
    }

    pub(crate) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    pub(crate) fn settle(&self, number: u64) {
        self.progress.send_if_modified(|progress| {
            let news = progress.settled < number;
            progress.settled = progress.settled.max(number);
            news
        });
    }

    /// The last handle is gone.
    pub(crate) fn close(&self) {
        locked(&self.inner).closed = true;
        self.posted.notify_one();
    }

    pub(crate) fn is_closed(&self) -> bool {
        locked(&self.inner).closed
    }

    pub(crate) fn is_running(&self) -> bool {
        locked(&self.inner).running
    }

    /// The actor has stopped. Whether it may end: not if it was started again meanwhile.
    pub(crate) fn end(&self) -> bool {
        let mut inner = locked(&self.inner);
        let started = inner
            .commands
            .iter()
            .any(|(_, command)| *command == Command::Start);
        if started && !inner.closed {
            return false;
        }
        self.leave(&mut inner);
        true
    }

    /// The actor ended without a stop, with its runtime for instance: `tell` is called before
    /// anybody who waits for the end learns of it.
    pub(crate) fn abandon(&self, run: u64, tell: impl FnOnce()) {
        let mut inner = locked(&self.inner);
        if inner.running && inner.run == run {
            tell();
            self.leave(&mut inner);
        }
    }

    fn leave(&self, inner: &mut Inner) {
        inner.running = false;
        // What was meant for this run only has no more meaning.
        inner.commands.retain(|(_, command)| {
            matches!(
                command,
                Command::Network(_) | Command::Foreground(_) | Command::TokenChanged
            )
        });
        self.progress.send_modify(|progress| {
            progress.running = false;
            progress.settled = inner.count;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_keep_their_order_and_of_each_kind_only_the_last() {
        let mailbox = Mailbox::new();
        assert_eq!(mailbox.post(Command::Stop), Posted::Idle);
        assert_eq!(
            mailbox.post(Command::Network(Network::Down)),
            Posted::Number(1)
        );
        assert_eq!(mailbox.post(Command::Start), Posted::Spawn(1));
        for _ in 0..1000 {
            mailbox.post(Command::RetryNow);
            mailbox.post(Command::Network(Network::Up));
        }
        let (commands, number) = mailbox.take();
        let expected = [
            Command::Start,
            Command::RetryNow,
            Command::Network(Network::Up),
        ];
        assert_eq!(commands, expected);
        assert_eq!(number, 2002);
    }

    #[test]
    fn a_start_after_a_stop_is_for_the_next_run() {
        let mailbox = Mailbox::new();
        assert_eq!(mailbox.post(Command::Start), Posted::Spawn(1));
        mailbox.take();
        let Posted::Number(stop) = mailbox.post(Command::Stop) else {
            panic!("an actor runs");
        };
        mailbox.post(Command::Start);
        let (commands, number) = mailbox.take();
        assert_eq!((commands, number), (vec![Command::Stop], stop));
        assert!(!mailbox.end(), "started again");
        assert_eq!(mailbox.take().0, [Command::Start]);
        mailbox.post(Command::Stop);
        mailbox.take();
        assert!(mailbox.end());
        assert!(!mailbox.progress().borrow().running);
    }

    #[test]
    fn a_run_that_is_over_has_no_say_in_the_next_one() {
        let mailbox = Mailbox::new();
        assert_eq!(mailbox.post(Command::Start), Posted::Spawn(1));
        mailbox.take();
        assert!(mailbox.end());
        assert_eq!(mailbox.post(Command::Start), Posted::Spawn(2));
        mailbox.abandon(1, || panic!("it had ended"));
        assert!(mailbox.is_running());
        mailbox.abandon(2, || ());
        assert!(!mailbox.is_running());
    }
}
