//! Who may ask now: one gate for the way to the edge, and one for each provider behind it.
//!
//! A failure closes a gate until its time; then one call goes ahead, and the others wait for what
//! becomes of it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use evenkeel_proto::failure::Request;
use evenkeel_proto::policy::{Class, rule};
use evenkeel_proto::{Cause, Failure, Layer, Timestamp, retry};
use tokio::sync::watch;

use crate::guard::locked;

/// What a call has to pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The edge alone.
    Session,
    /// The edge and a provider, by its name; empty where it is not known yet.
    Task(String),
}

pub(super) struct Gates {
    state: Mutex<State>,
    moved: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    edge: Gate,
    providers: BTreeMap<String, Gate>,
    rng: fastrand::Rng,
}

/// Open where nothing has failed since the last success.
#[derive(Clone, Copy, Debug, Default)]
struct Gate {
    failures: u32,
    closed: Option<Trouble>,
    probing: bool,
}

/// Why a gate is closed, and until when nobody passes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) cause: Cause,
    pub(super) until: Timestamp,
}

pub(super) enum Entry<'a> {
    Pass(Pass<'a>),
    /// Not before this time.
    Closed(Trouble),
    /// Another call is finding out.
    Probed(Trouble),
}

/// A call's leave to go ahead. Dropped without a verdict, it says nothing.
pub(super) struct Pass<'a> {
    gates: &'a Gates,
    way: Way,
    /// Whether it is the one that finds out, at the edge's gate and at the provider's.
    probes: [bool; 2],
}

impl Gates {
    pub(super) fn new(rng: fastrand::Rng) -> Self {
        Self {
            state: Mutex::new(State {
                edge: Gate::default(),
                providers: BTreeMap::new(),
                rng,
            }),
            moved: watch::Sender::new(()),
        }
    }

    /// Changes whenever somebody who waited may look again.
    pub(super) fn moves(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }

    pub(super) fn enter(&self, way: &Way, now: Timestamp) -> Entry<'_> {
        let mut state = locked(&self.state);
        let gates = state.on(way);
        let troubles = gates.iter().filter_map(|gate| gate.closed);
        if let Some(latest) = troubles.max_by_key(|trouble| trouble.until) {
            if latest.until > now {
                return Entry::Closed(latest);
            }
            if gates.iter().any(|gate| gate.probing) {
                return Entry::Probed(latest);
            }
        }
        let probes = gates.map(|gate| gate.closed.is_some());
        state.change(way, |at, gate| gate.probing |= probes[at]);
        Entry::Pass(Pass {
            gates: self,
            way: way.clone(),
            probes,
        })
    }

    /// The provider that was not known is this one: its trouble stays its trouble.
    pub(super) fn name(&self, name: &str) {
        let mut state = locked(&self.state);
        if let Some(gate) = state.providers.remove("") {
            state.providers.entry(name.to_owned()).or_insert(gate);
        }
    }

    /// What stands in a call's way: the provider's trouble rather than the edge's.
    pub(super) fn trouble(&self, way: &Way) -> Option<Trouble> {
        let [edge, provider] = locked(&self.state).on(way);
        provider.closed.or(edge.closed)
    }
}

impl Pass<'_> {
    /// It was answered: what it went through is open. What was closed after it had set out stays so.
    pub(super) fn succeeded(self) {
        let probes = self.probes;
        locked(&self.gates.state).change(&self.way, |at, gate| {
            if gate.closed.is_none() || probes[at] {
                *gate = Gate::default();
            }
        });
    }

    /// It failed. A refusal of this one request is nobody else's concern.
    pub(super) fn failed(self, failure: &Failure, now: Timestamp) {
        let Some(class) = concerns_all(failure) else {
            return;
        };
        let limited = failure.cause == Cause::RateLimited;
        let at_provider = failure.layer == Layer::Provider || limited;
        let fault = usize::from(at_provider && matches!(self.way, Way::Task(_)));
        let probes = self.probes;
        let mut state = locked(&self.gates.state);
        let mut rng = state.rng.fork();
        state.change(&self.way, |at, gate| {
            if at < fault && probes[at] {
                // The edge has answered.
                *gate = Gate::default();
            }
            if at != fault {
                return;
            }
            let waits = gate.closed.map(|trouble| trouble.until);
            let late = waits.is_some_and(|until| until > now);
            if !late {
                gate.failures = gate.failures.saturating_add(1);
            }
            let floor = failure.retry_after;
            // One that set out before the gate was closed can only put its time off.
            let wait = match late {
                true => floor.unwrap_or_default(),
                false => retry::delay(&mut rng, class, gate.failures, floor),
            };
            let until = waits.unwrap_or(now).max(now + wait);
            gate.closed = Some(Trouble {
                cause: failure.cause,
                until,
            });
        });
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let probes = self.probes;
        let mut state = locked(&self.gates.state);
        state.change(&self.way, |at, gate| gate.probing &= !probes[at]);
        drop(state);
        self.gates.moved.send_replace(());
    }
}

impl State {
    fn on(&self, way: &Way) -> [Gate; 2] {
        let provider = match way {
            Way::Session => None,
            Way::Task(name) => self.providers.get(name).copied(),
        };
        [self.edge, provider.unwrap_or_default()]
    }

    fn change(&mut self, way: &Way, mut change: impl FnMut(usize, &mut Gate)) {
        change(0, &mut self.edge);
        let Way::Task(name) = way else {
            return;
        };
        let mut gate = self.providers.get(name).copied().unwrap_or_default();
        change(1, &mut gate);
        if gate.closed.is_none() {
            self.providers.remove(name);
            return;
        }
        // The names come from the service: more than these are nobody's.
        if self.providers.len() >= PROVIDERS_MAX && !self.providers.contains_key(name) {
            self.providers.clear();
        }
        self.providers.insert(name.clone(), gate);
    }
}

/// How a failure that any other call would meet too is waited out; `None` for one of this call alone.
pub(super) fn concerns_all(failure: &Failure) -> Option<Class> {
    if failure.cause == Cause::RateLimited {
        return Some(Class::Gate);
    }
    if failure.http_status.is_some_and(|s| (400..500).contains(&s)) {
        return None;
    }
    match rule(failure.cause, Request::Other).class {
        Class::Ask => None,
        Class::Gate => Some(Class::Gate),
        // Nothing is tried here without somebody who wants it, so nothing is gained by waiting long.
        _ => Some(Class::Backoff),
    }
}

/// How long until then.
pub(super) fn left(trouble: Trouble, now: Timestamp) -> Duration {
    trouble.until.since(now)
}

const PROVIDERS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn gates() -> Gates {
        Gates::new(fastrand::Rng::with_seed(7))
    }

    fn gemini() -> Way {
        Way::Task("gemini".into())
    }

    fn broken(cause: Cause, floor_s: u64) -> Failure {
        let mut failure = Failure::local(cause, "test");
        failure.retry_after = (floor_s > 0).then(|| Duration::from_secs(floor_s));
        failure
    }

    fn pass<'a>(gates: &'a Gates, way: &Way, now: Timestamp) -> Pass<'a> {
        match gates.enter(way, now) {
            Entry::Pass(pass) => pass,
            Entry::Closed(trouble) => panic!("closed: {trouble:?}"),
            Entry::Probed(trouble) => panic!("probed: {trouble:?}"),
        }
    }

    fn at(s: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000) + Duration::from_secs(s)
    }

    #[test]
    fn a_provider_s_failure_closes_its_own_gate_until_the_floor_and_then_one_call_finds_out() {
        let gates = gates();
        let failure = broken(Cause::ProviderCircuitOpen, 10);
        pass(&gates, &gemini(), at(0)).failed(&failure, at(0));
        assert!(matches!(gates.enter(&gemini(), at(9)), Entry::Closed(_)));
        drop(pass(&gates, &Way::Session, at(0)));
        drop(pass(&gates, &Way::Task("openrouter".into()), at(0)));

        let probe = pass(&gates, &gemini(), at(12));
        assert!(matches!(gates.enter(&gemini(), at(12)), Entry::Probed(_)));
        drop(probe);
        pass(&gates, &gemini(), at(12)).succeeded();
        let (a, b) = (
            pass(&gates, &gemini(), at(12)),
            pass(&gates, &gemini(), at(12)),
        );
        drop((a, b));
        assert_eq!(gates.trouble(&gemini()), None);
    }

    #[test]
    fn the_edge_s_failure_closes_the_way_for_all() {
        let gates = gates();
        let failure = broken(Cause::KvUnavailable, 5);
        pass(&gates, &Way::Session, at(0)).failed(&failure, at(0));
        assert!(matches!(gates.enter(&gemini(), at(4)), Entry::Closed(_)));
        // The probe meets the provider's trouble: then the edge is there again.
        let failure = broken(Cause::Provider5xx, 0);
        pass(&gates, &gemini(), at(8)).failed(&failure, at(8));
        drop(pass(&gates, &Way::Session, at(8)));
        let cause = gates.trouble(&gemini()).map(|trouble| trouble.cause);
        assert_eq!(cause, Some(Cause::Provider5xx));
    }

    #[test]
    fn what_set_out_before_neither_opens_a_closed_gate_nor_counts_again() {
        let gates = gates();
        let early = pass(&gates, &gemini(), at(0));
        let other = pass(&gates, &gemini(), at(0));
        let failure = broken(Cause::ProviderTimeout, 5);
        pass(&gates, &gemini(), at(0)).failed(&failure, at(0));
        let until = gates.trouble(&gemini()).map(|trouble| trouble.until);
        early.succeeded();
        other.failed(&broken(Cause::ProviderTimeout, 0), at(1));
        let still = gates.trouble(&gemini()).map(|trouble| trouble.until);
        assert_eq!(still, until);
        let failures = locked(&gates.state).providers["gemini"].failures;
        assert_eq!(failures, 1);
    }

    #[test]
    fn a_refusal_of_one_request_is_nobody_else_s_concern() {
        let gates = gates();
        let mut failure = broken(Cause::BadRequest, 0);
        failure.http_status = Some(400);
        pass(&gates, &gemini(), at(0)).failed(&failure, at(0));
        assert_eq!(gates.trouble(&gemini()), None);
        let failure = broken(Cause::RateLimited, 30);
        pass(&gates, &gemini(), at(0)).failed(&failure, at(0));
        assert!(matches!(gates.enter(&gemini(), at(29)), Entry::Closed(_)));
    }
}
