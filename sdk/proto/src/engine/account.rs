//! Token and device: what only the app can mend.

use std::time::Duration;

use super::lane::{Flight, LaneId};
use super::timers::Timer;
use super::{Engine, Output, RequestId, TokenError};
use crate::cause::Cause;
use crate::failure::Failure;
use crate::policy::Class;
use crate::time::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// There is a token that may work.
    Good,
    /// The token was refused, and another has to be asked for before anything else.
    Stale,
    /// The app is asked for another token.
    Refreshing(RequestId),
    /// Two tokens were refused, or the user signed out: the app has to act.
    SignedOut,
    /// The device was revoked: the app has to act.
    Revoked,
}

#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) standing: Standing,
    /// Counts the tokens, so that a late 401 for an old one means nothing.
    pub(super) epoch: u32,
    /// A refresh has happened since the service last accepted a token.
    pub(super) refreshed: bool,
}

impl Engine {
    /// A failure of the `ask` class.
    pub(super) fn ask(&mut self, now: Timestamp, lane: LaneId, flight: Flight, failure: &Failure) {
        let cause = failure.cause;
        // Without an answer of the service it is the app that says so: to ask it again would be to doubt it.
        let signed_out = cause == Cause::AuthRequired && failure.http_status.is_none();
        if self.gate.is_probe(flight.id) {
            // Somebody did answer: the gate is asked again when the account is in order.
            self.probe_from(now);
        }
        if cause == Cause::DeviceRevoked {
            self.block(Standing::Revoked);
        } else if flight.token_epoch != self.account.epoch
            || self.account.standing != Standing::Good
        {
            // The token it carried is out of use already: the lane just asks again.
        } else if signed_out || self.account.refreshed || self.lane(lane).refused {
            self.lane(lane).failing = Some(cause);
            self.block(Standing::SignedOut);
        } else {
            self.account.refreshed = true;
            self.lane(lane).refused = true;
            self.refresh(now);
        }
    }

    /// Asks the app for a token.
    pub(super) fn refresh(&mut self, now: Timestamp) {
        let id = self.fresh_id();
        self.account.standing = Standing::Refreshing(id);
        self.timers.arm(Timer::TokenWatch, now + TOKEN_TIMEOUT);
        self.outputs.push_back(Output::RefreshToken { id });
    }

    pub(super) fn on_token(
        &mut self,
        now: Timestamp,
        id: RequestId,
        result: Result<(), TokenError>,
    ) {
        if self.account.standing != Standing::Refreshing(id) {
            return;
        }
        self.timers.stop(Timer::TokenWatch);
        match result {
            Ok(()) => {
                self.account.standing = Standing::Good;
                self.account.epoch = self.account.epoch.wrapping_add(1);
            }
            Err(TokenError::Unavailable) => self.token_unavailable(now),
            Err(TokenError::SignedOut) => self.block(Standing::SignedOut),
        }
    }

    pub(super) fn on_token_watch(&mut self, now: Timestamp) {
        if let Standing::Refreshing(id) = self.account.standing {
            self.outputs.push_back(Output::Abort { id });
            self.token_unavailable(now);
        }
    }

    pub(super) fn on_token_changed(&mut self, now: Timestamp) {
        let blocked = self.account.standing != Standing::Good;
        if let Standing::Refreshing(id) = self.account.standing {
            self.timers.stop(Timer::TokenWatch);
            self.outputs.push_back(Output::Abort { id });
        }
        self.account.epoch = self.account.epoch.wrapping_add(1);
        self.trust_account();
        if blocked {
            self.come_back(now);
        }
    }

    /// The app's word that the account is in order.
    pub(super) fn trust_account(&mut self) {
        self.account.standing = Standing::Good;
        self.account.refreshed = false;
        for lane in &mut self.lanes {
            lane.refused = false;
        }
    }

    fn token_unavailable(&mut self, now: Timestamp) {
        self.account.standing = Standing::Stale;
        // The service said nothing of the kind: an attempt of the app's, counted as ours.
        let probe = !self.gate.is_open();
        self.close_gate(now, probe, Class::Backoff, Cause::TokenUnavailable, None);
    }

    fn block(&mut self, standing: Standing) {
        self.abort_all();
        self.account.standing = standing;
    }
}

const TOKEN_TIMEOUT: Duration = Duration::from_secs(30);
