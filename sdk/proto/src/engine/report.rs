//! What the app is told: one pure look at the engine, published when it says something new.

use super::account::Standing;
use super::lane::LaneId;
use super::timers::{ATTEMPTS, Timer};
use super::{Engine, Output};
use crate::cause::Cause;
use crate::status::{Ask, Lifecycle, Link, OutboxLevel, SyncState, SyncStatus};
use crate::time::Timestamp;

impl SyncStatus {
    /// Before anything happened.
    pub(super) const fn initial(now: Timestamp) -> Self {
        Self {
            version: 0,
            state: SyncState::Syncing,
            lifecycle: Lifecycle::Stopped,
            link: Link::None,
            cause: None,
            layer: None,
            since: now,
            attempt: 0,
            next_attempt_at: None,
            floor_from_server: None,
            last_proof_at: None,
            cursor: None,
            pending: 0,
            conflicts: 0,
            rejected: 0,
            outbox: OutboxLevel::Normal,
            ask: Ask::None,
        }
    }
}

impl Engine {
    /// Publishes what changed. `syncing` is held back for a moment, so that a badge does not flicker.
    pub(super) fn report(&mut self, now: Timestamp) {
        let fresh = self.look(now);
        // A proof that repeats itself is no news, but goes along with any.
        let last_proof_at = match fresh.state {
            SyncState::Synced => self.published.last_proof_at,
            _ => fresh.last_proof_at,
        };
        let news = SyncStatus {
            last_proof_at,
            ..fresh
        };
        if news == self.published {
            self.timers.stop(Timer::Quiet);
            self.state_since = self.published.since;
            return;
        }
        let calm = fresh.state == SyncState::Syncing
            && self.published.state != SyncState::Syncing
            && fresh.lifecycle == self.published.lifecycle;
        if !calm {
            self.publish(fresh);
        } else if !self.timers.armed(Timer::Quiet) {
            self.timers.arm(Timer::Quiet, now + self.config.quiet);
        }
    }

    pub(super) fn on_quiet(&mut self, now: Timestamp) {
        let fresh = self.look(now);
        if fresh != self.published {
            self.publish(fresh);
        }
    }

    fn publish(&mut self, fresh: SyncStatus) {
        self.timers.stop(Timer::Quiet);
        self.published = SyncStatus {
            version: self.published.version + 1,
            ..fresh
        };
        self.outputs.push_back(Output::Publish(self.published));
    }

    /// The present picture. Equal to the published one unless it says something new.
    fn look(&mut self, now: Timestamp) -> SyncStatus {
        let cause = self.failing();
        let proven = self.proven();
        if proven && self.proof != Some(self.pull.proved) {
            self.last_proof_at = Some(now);
        }
        self.proof = proven.then_some(self.pull.proved);

        let idle = self.lifecycle != Lifecycle::Running;
        let (state, cause) = match cause {
            _ if idle => (self.published.state, self.published.cause),
            Some(cause) => (SyncState::Degraded, Some(cause)),
            None if proven => (SyncState::Synced, None),
            None => (SyncState::Syncing, None),
        };
        if state != self.state_now {
            self.state_now = state;
            self.state_since = now;
        }
        let said = &self.published;
        let since = if state == said.state {
            said.since
        } else {
            self.state_since
        };
        let next = self.next_attempt(state);
        SyncStatus {
            version: said.version,
            state,
            lifecycle: self.lifecycle,
            link: self.link(),
            cause,
            layer: cause.map(Cause::layer),
            since,
            attempt: if idle { 0 } else { self.attempt() },
            next_attempt_at: next,
            // One lane's floor is no news where another lane's attempt comes before it.
            floor_from_server: self
                .floor(now)
                .filter(|&floor| next.is_none_or(|next| next >= floor)),
            last_proof_at: self.last_proof_at,
            cursor: self.pull.cursor,
            pending: self.push.backlog.waiting,
            conflicts: self.push.backlog.conflicts,
            rejected: self.push.backlog.rejected,
            outbox: self.push.backlog.level,
            ask: self.asked_of_app(cause),
        }
    }

    fn failing(&self) -> Option<Cause> {
        match self.account.standing {
            Standing::SignedOut => return Some(Cause::AuthRequired),
            Standing::Revoked => return Some(Cause::DeviceRevoked),
            _ => {}
        }
        if self.offline {
            return Some(Cause::Offline);
        }
        let gate = self.gate.cause.filter(|_| !self.gate.is_open());
        gate.or_else(|| self.failing_lane()?.1)
    }

    fn failing_lane(&self) -> Option<(LaneId, Option<Cause>)> {
        [LaneId::Pull, LaneId::Push, LaneId::Stream]
            .into_iter()
            .map(|lane| (lane, self.lanes[lane as usize].failing))
            .find(|(_, failing)| failing.is_some())
    }

    fn proven(&self) -> bool {
        self.stream.is_live()
            && self.gate.is_open()
            && self.pull.proved == self.pull.need
            && self.push.backlog.waiting == 0
            && self.failing().is_none()
    }

    fn link(&self) -> Link {
        let pulls_work = self.lanes[LaneId::Pull as usize].failing.is_none();
        if self.stream.is_live() {
            Link::Stream
        } else if self.stream.polling && self.gate.is_open() && pulls_work {
            Link::Polling
        } else {
            Link::None
        }
    }

    fn attempt(&self) -> u32 {
        if !self.gate.is_open() && self.gate.cause.is_some() {
            return self.gate.attempt;
        }
        self.failing_lane()
            .map_or(0, |(lane, _)| self.lanes[lane as usize].attempt)
    }

    /// The first thing that will be sent by itself.
    fn next_attempt(&self, state: SyncState) -> Option<Timestamp> {
        if !self.may_send() || state == SyncState::Synced {
            return None;
        }
        if !self.gate.is_open() {
            return self.timers.at(Timer::Gate);
        }
        let pull_waits = self.timers.armed(Timer::PullRetry);
        let awaited = self.timers.at(Timer::AwaitStream).unwrap_or_default();
        ATTEMPTS
            .into_iter()
            .filter(|timer| match timer {
                Timer::PushRetry => self.push.backlog.waiting > 0,
                // These only lead to a pull, which has a wait of its own.
                Timer::AwaitStream | Timer::Poll | Timer::Settle => !pull_waits,
                _ => true,
            })
            .filter_map(|timer| {
                let at = self.timers.at(timer)?;
                let pulls = matches!(timer, Timer::PullRetry | Timer::Poll | Timer::Settle);
                Some(if pulls { at.max(awaited) } else { at })
            })
            .min()
    }

    fn floor(&self, now: Timestamp) -> Option<Timestamp> {
        let lane = self
            .failing_lane()
            .map(|(lane, _)| self.lanes[lane as usize].floor);
        [Some(self.gate.floor), lane]
            .into_iter()
            .flatten()
            .find(|&floor| floor > now)
    }

    fn asked_of_app(&self, cause: Option<Cause>) -> Ask {
        match (self.account.standing, cause) {
            (Standing::SignedOut, _) => Ask::SignIn,
            (Standing::Revoked, _) => Ask::DeviceRevoked,
            (_, Some(Cause::StorageFull | Cause::StoreFailed)) => Ask::FreeStorage,
            _ if self.push.backlog.conflicts > 0 => Ask::ResolveConflicts,
            _ if self.push.backlog.rejected > 0 => Ask::ReviewRejected,
            _ => Ask::None,
        }
    }
}
