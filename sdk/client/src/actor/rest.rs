//! The store's side of being suspended and resumed, and of losing it to another process.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use evenkeel_proto::engine::Input;

use super::Driver;
use super::standby::{self, Asking};
use crate::diagnostics::Lane;
use crate::replica::Hold;
use crate::shared::{AtWork, Shared};

pub(super) type Lost = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where the store's lease is on its way to. A replica without one is always at `None`.
pub(super) enum Rest {
    /// It is ours.
    None,
    /// The files are being closed.
    Closing(Asking<'static, ()>),
    /// They are closed.
    Closed,
    /// It is being taken again.
    Waking(Asking<'static, Hold>),
    /// It is not ours, or was not all the while: what this engine knows is old.
    Over,
}

pub(super) enum Rested {
    Closed,
    Held(Option<Hold>),
}

impl Rest {
    pub(super) const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    pub(super) const fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }

    pub(super) const fn is_changing(&self) -> bool {
        matches!(self, Self::Closing(_) | Self::Waking(_))
    }

    /// Cancel-safe: what was asked goes on with the next call.
    pub(super) async fn next(&mut self) -> Rested {
        match self {
            Self::Closing(asking) => {
                if let Err(failure) = asking.await {
                    tracing::warn!(target: "evenkeel", message = failure.message, "not closed");
                }
                Rested::Closed
            }
            Self::Waking(asking) => Rested::Held(asking.await.ok()),
            Self::None | Self::Closed | Self::Over => std::future::pending().await,
        }
    }
}

impl Driver {
    /// Closes the store. What is being applied at the moment ends with that.
    pub(super) fn lie_down(&mut self) {
        if matches!(self.rest, Rest::Closed | Rest::Over) || self.shared.replica.lease().is_none() {
            return;
        }
        let at_work = AtWork::begin(&self.shared, Lane::Store);
        let shared = Arc::clone(&self.shared);
        let closing = async move {
            let _at_work = at_work;
            match shared.replica.lease() {
                Some(lease) => standby::suspend(lease).await,
                None => Ok(()),
            }
        };
        self.rest = Rest::Closing(Box::pin(closing));
    }

    /// Takes the store again, to go on where the client was suspended.
    pub(super) fn wake(&mut self) {
        if !matches!(self.rest, Rest::Closing(_) | Rest::Closed) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let waking = async move {
            match shared.replica.lease() {
                Some(lease) => standby::hold(lease).await,
                None => Ok(Hold::Ours { undisturbed: true }),
            }
        };
        self.rest = Rest::Waking(Box::pin(waking));
    }

    pub(super) fn on_rested(&mut self, rested: Rested) {
        match rested {
            Rested::Closed => self.rest = Rest::Closed,
            Rested::Held(Some(Hold::Ours { undisturbed: true })) => {
                self.rest = Rest::None;
                self.lost = lost(&self.shared);
                // Nobody else knows it any more.
                self.told = None;
                self.resume();
                // What was written while it was closed.
                self.feed(Input::LocalChange(self.shared.backlog()));
            }
            Rested::Held(_) => self.rest = Rest::Over,
        }
    }

    pub(super) fn resume(&mut self) {
        self.quiet = false;
        self.shared.transport.renew();
        self.feed(Input::Resume);
    }

    /// Another process took the store over: nothing more is sent, and what comes is not applied.
    pub(super) fn lose(&mut self) {
        tracing::warn!(target: "evenkeel", "another process syncs the store now");
        self.rest = Rest::Over;
        self.quiet = true;
        self.give_up_all();
    }
}

pub(super) fn lost(shared: &Arc<Shared>) -> Lost {
    let shared = Arc::clone(shared);
    Box::pin(async move {
        match shared.replica.lease() {
            Some(lease) => lease.lost().await,
            None => std::future::pending().await,
        }
    })
}

/// Whether it has happened; a future that is ready must not be asked again.
pub(super) async fn is_ready(lost: &mut Lost) -> bool {
    tokio::select! {
        biased;
        () = lost => true,
        () = std::future::ready(()) => false,
    }
}
