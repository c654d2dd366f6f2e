//! Where things stand, in words that fit on a line and say what the user can do.

use std::time::Duration;

use evenkeel::{Ask, Cause, Lifecycle, Link, Status, SyncState};

/// What is shown of a status.
#[derive(Clone, Debug)]
pub(crate) struct Badge {
    pub(crate) state: SyncState,
    pub(crate) cause: Option<Cause>,
    pub(crate) link: Link,
    pub(crate) next: Option<Duration>,
    pub(crate) waiting: u32,
    pub(crate) conflicts: u32,
    pub(crate) parked: u32,
    pub(crate) ask: Ask,
    pub(crate) at_rest: bool,
}

impl Badge {
    pub(crate) fn of(status: &Status) -> Self {
        Self {
            state: status.state,
            cause: status.cause,
            link: status.link,
            next: status.next_attempt_in(),
            waiting: status.pending,
            conflicts: status.conflicts,
            parked: status.rejected,
            ask: status.ask,
            at_rest: status.lifecycle != Lifecycle::Running,
        }
    }

    /// What follows the name of the state, most important first: a narrow screen cuts the end off.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        if self.at_rest {
            words.push("at rest".to_owned());
        }
        if let Some(cause) = self.cause {
            words.push(in_words(cause).to_owned());
        }
        if let Some(ask) = asked(self.ask) {
            words.push(ask.to_owned());
        }
        if let Some(next) = self.next {
            words.push(format!("next try in {} s", next.as_secs_f64().ceil()));
        }
        let counts = [
            (self.waiting, "waiting"),
            (self.conflicts, "in conflict (c)"),
            (self.parked, "refused (p)"),
        ];
        for (count, what) in counts.into_iter().filter(|(count, _)| *count > 0) {
            words.push(format!("{count} {what}"));
        }
        if self.link == Link::Polling {
            words.push("asking at intervals".to_owned());
        }
        words
    }
}

fn asked(ask: Ask) -> Option<&'static str> {
    match ask {
        Ask::SignIn => Some("put a fresh token into the token file, then press r"),
        Ask::DeviceRevoked => Some("this device was shut out; its notes stay here"),
        Ask::FreeStorage => Some("make room on this disk"),
        // Their counts and keys stand in the badge already.
        _ => None,
    }
}

fn in_words(cause: Cause) -> &'static str {
    match cause {
        Cause::Offline => "offline",
        Cause::DnsFailed => "the service's name is not found",
        Cause::ConnectFailed | Cause::ConnectionLost => "the service cannot be reached",
        Cause::TlsFailed => "no trustworthy connection to the service",
        Cause::ResponseTimeout | Cause::Timeout => "the service does not answer",
        Cause::NetworkError | Cause::Upstream5xx | Cause::CircuitOpen => {
            "the service is in trouble"
        }
        Cause::ServerError | Cause::KvUnavailable => "the service is in trouble",
        Cause::OriginUnconfigured => "the service is being set up",
        Cause::RateLimited => "the service asks for a pause",
        Cause::StreamClosed | Cause::StreamStalled => "the live connection broke",
        Cause::TicketStorageUnavailable => "no live connection at the moment",
        Cause::AuthRequired => "the token is refused",
        Cause::DeviceRevoked => "this device was shut out",
        Cause::TokenUnavailable => "the token cannot be read",
        Cause::NotTheService | Cause::Redirected => "something else answers for the service",
        Cause::StoreFailed => "the notes on this disk cannot be read or written",
        Cause::StorageFull => "this disk is full",
        other => other.as_str(),
    }
}
