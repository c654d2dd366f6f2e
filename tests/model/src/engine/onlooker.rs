//! What somebody who sees only inputs and outputs can hold the engine to. It knows nothing of the engine's own
//! state: a gate is closed because an answer said so.

use std::time::Duration;

use evenkeel_proto::engine::RequestId;
use evenkeel_proto::failure::RETRY_AFTER_MAX;
use evenkeel_proto::policy::{self, Class, Scope};
use evenkeel_proto::retry::GATE_FLOOR;
use evenkeel_proto::{Failure, Timestamp};

use super::service::{Asked, Flight};
use super::{FLOORS, ONE_A_LANE, ONE_PROBE};
use crate::Broken;

#[derive(Clone, Debug)]
pub(super) struct Onlooker {
    /// Everybody was told to stay away, and nothing has worked since.
    closed: bool,
    /// Sent since then and not answered.
    probes: Vec<RequestId>,
    /// Under way when it was told: one may be a probe that an onlooker cannot know for one.
    maybe: Vec<RequestId>,
    /// Nothing of this lane (or nothing at all) before that time.
    floors: Vec<(Option<u8>, Timestamp)>,
    /// The stream's `ready` came, and it has not ended.
    pub(super) live: bool,
    /// A pull that was fresh when it began has ended with an empty page.
    pub(super) proved: bool,
    /// What the client must have read before it may say `synced`.
    must: u64,
    /// Since when there is no proof.
    unproven_since: Option<Timestamp>,
}

impl Onlooker {
    /// Of a client that has just started: its first request is a probe.
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            closed: true,
            probes: Vec::new(),
            maybe: Vec::new(),
            floors: Vec::new(),
            live: false,
            proved: false,
            must: 0,
            unproven_since: Some(now),
        }
    }

    /// The process ended, and begins anew; what the service said still counts.
    pub(super) fn restart(&mut self, now: Timestamp) {
        let floors = std::mem::take(&mut self.floors);
        *self = Self {
            floors,
            ..Self::new(now)
        };
    }

    /// The client sends nothing from now on; when it goes on, it does so with a probe.
    pub(super) fn pause(&mut self) {
        self.closed = true;
        self.probes.clear();
        self.maybe.clear();
    }

    pub(super) fn on_sent(
        &mut self,
        now: Timestamp,
        flight: Flight,
        others: &[Flight],
        broken: &mut Broken,
    ) {
        let lane = flight.asked.lane();
        if others.iter().any(|other| other.asked.lane() == lane) {
            broken.note(ONE_A_LANE, format_args!("a second {:?}", flight.asked));
        }
        if flight.asked == Asked::Token {
            return;
        }
        for &(of, until) in &self.floors {
            if of.is_none_or(|of| of == lane) && now < until {
                broken.note(FLOORS, format_args!("{:?} under {until:?}", flight.asked));
            }
        }
        if self.closed {
            if !self.probes.is_empty() {
                broken.note(
                    ONE_PROBE,
                    format_args!("{:?} beside the probe", flight.asked),
                );
            }
            self.probes.push(flight.id);
        }
    }

    pub(super) fn on_abort(&mut self, id: RequestId) {
        self.probes.retain(|&probe| probe != id);
    }

    /// The answer to this request comes in.
    pub(super) fn on_answer(
        &mut self,
        now: Timestamp,
        flight: Flight,
        failure: Option<&Failure>,
        others: &[Flight],
    ) {
        if flight.asked == Asked::Token {
            return;
        }
        let probe = self.probes.contains(&flight.id);
        self.probes.retain(|&probe| probe != flight.id);
        let Some(failure) = failure else {
            if probe || self.maybe.contains(&flight.id) {
                self.closed = false;
            }
            return;
        };
        let rule = policy::rule(failure.cause, flight.asked.request());
        if rule.class == Class::Ask {
            return;
        }
        let whole = probe || rule.scope == Scope::Client;
        if whole && !self.closed {
            self.closed = true;
            self.probes.clear();
            self.maybe = others.iter().map(|other| other.id).collect();
        }
        let least = (rule.class == Class::Gate).then_some(GATE_FLOOR);
        if let Some(floor) = failure.retry_after.or(least) {
            let of = (!whole).then(|| flight.asked.lane());
            self.floors.push((of, now + floor.min(RETRY_AFTER_MAX)));
        }
    }

    /// From now on `synced` has to be proven anew, with everything up to `must` read.
    pub(super) fn need(&mut self, must: u64, flights: &mut [Flight]) {
        self.must = self.must.max(must);
        self.proved = false;
        for flight in flights {
            flight.fresh = false;
        }
    }

    /// Why `synced` may not be said.
    pub(super) fn objection(&self, waiting: u32, cursor: u64) -> Option<&'static str> {
        match () {
            () if !self.live => Some("without a live stream"),
            () if !self.proved => Some("without a pull that proves it"),
            () if waiting > 0 => Some("with operations waiting"),
            () if cursor < self.must => Some("without what was announced"),
            () => None,
        }
    }

    /// Looks at where things stand; says whether `synced` has outlived its proof by more than `quiet`.
    pub(super) fn look(
        &mut self,
        now: Timestamp,
        waiting: u32,
        cursor: u64,
        quiet: Duration,
    ) -> bool {
        self.floors.retain(|&(_, until)| until > now);
        if self.objection(waiting, cursor).is_none() {
            self.unproven_since = None;
            return false;
        }
        let since = *self.unproven_since.get_or_insert(now);
        now.since(since) > quiet
    }

    pub(super) fn is_told_to_wait(&self) -> bool {
        self.floors.iter().any(|&(of, _)| of.is_none())
    }
}
