//! The exit criteria as a state machine over samples: no I/O and no clock, so that a whole outage is a test.

use std::time::Duration;

use evenkeel::{Link, Status, SyncState};
use serde::Serialize;

use crate::handshake::State;
use crate::probe::{Counted, Health, Proxied, Readiness, Trouble};
use crate::recording::Seen;
use crate::status_line::describe;

/// One look at everything.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) ready: Seen<Readiness>,
    pub(crate) counted: Seen<Counted>,
    /// `None`: not asked this time.
    pub(crate) proxied: Option<Result<Proxied, Trouble>>,
    pub(crate) client: ClientSeen,
}

/// What a client says of itself.
#[derive(Clone, Debug)]
pub(crate) struct ClientSeen {
    pub(crate) state: SyncState,
    pub(crate) link: Link,
    pub(crate) words: String,
    /// Something else than synced or syncing over a stream, since the last sample.
    pub(crate) strayed: Option<String>,
}

impl ClientSeen {
    pub(crate) fn of(status: &Status, strayed: Option<String>) -> Self {
        Self {
            state: status.state,
            link: status.link,
            words: describe(status),
            strayed,
        }
    }
}

/// What may be missing or degraded, as asked for on the command line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Allowed {
    pub(crate) unknown_metrics: bool,
    pub(crate) unknown_ready: bool,
    /// Names of dependencies as on the wire.
    pub(crate) degraded: Vec<&'static str>,
}

/// One criterion as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Criterion {
    pub(crate) id: &'static str,
    pub(crate) state: State,
    /// Since when it is in this state, in Unix milliseconds.
    pub(crate) since_ms: u64,
    pub(crate) evidence: String,
}

impl Criterion {
    pub(crate) fn new(id: &'static str, at_ms: u64) -> Self {
        Self {
            id,
            state: State::Unknown,
            since_ms: at_ms,
            evidence: "not looked at yet".to_owned(),
        }
    }

    pub(crate) fn set(&mut self, at_ms: u64, state: State, evidence: String) {
        if self.state != state {
            self.since_ms = at_ms;
        }
        self.state = state;
        self.evidence = evidence;
    }
}

/// The three criteria that have to hold for the whole window.
#[derive(Debug)]
pub(crate) struct Criteria {
    allowed: Allowed,
    pub(crate) ready: Criterion,
    pub(crate) circuit: Criterion,
    pub(crate) client: Criterion,
    window_from_ms: u64,
    last_counted: Option<Counted>,
    /// The last answer through the edge since the window began.
    last_proxied: Option<Result<Proxied, Trouble>>,
}

impl Criteria {
    pub(crate) fn new(allowed: Allowed, at_ms: u64) -> Self {
        Self {
            allowed,
            ready: Criterion::new("ready", at_ms),
            circuit: Criterion::new("circuit", at_ms),
            client: Criterion::new("client", at_ms),
            window_from_ms: at_ms,
            last_counted: None,
            last_proxied: None,
        }
    }

    pub(crate) fn all(&self) -> [&Criterion; 3] {
        [&self.ready, &self.circuit, &self.client]
    }

    pub(crate) fn observe(&mut self, at_ms: u64, sample: Sample) {
        self.observe_service(at_ms, sample.ready, sample.counted, sample.proxied);
        self.observe_client(at_ms, sample.client);
    }

    pub(crate) fn observe_service(
        &mut self,
        at_ms: u64,
        ready: Seen<Readiness>,
        counted: Seen<Counted>,
        proxied: Option<Result<Proxied, Trouble>>,
    ) {
        let (state, evidence) = self.judge_ready(ready);
        self.ready.set(at_ms, state, evidence);
        let (state, evidence) = self.judge_circuit(counted, proxied);
        if state == State::Fail {
            // Whatever worked before says nothing about what comes.
            self.last_proxied = self
                .last_proxied
                .take()
                .filter(|seen| !matches!(seen, Ok(Proxied::Worked)));
        }
        self.circuit.set(at_ms, state, evidence);
    }

    pub(crate) fn observe_client(&mut self, at_ms: u64, client: ClientSeen) {
        let (state, evidence) = judge_client(client);
        self.client.set(at_ms, state, evidence);
    }

    /// Whether an answer through the edge is all that the circuit needs.
    pub(crate) fn wants_proof(&self) -> bool {
        self.last_proxied.is_none()
    }

    /// For how long nothing has failed and nothing has become unknown.
    pub(crate) fn held(&self, at_ms: u64) -> Option<Duration> {
        if self.all().iter().any(|c| c.state == State::Fail) {
            return None;
        }
        let since = self.all().iter().map(|c| c.since_ms).max();
        let since = since.unwrap_or(at_ms).max(self.window_from_ms);
        Some(Duration::from_millis(at_ms.saturating_sub(since)))
    }

    /// Everything has to hold from now on.
    pub(crate) fn begin_again(&mut self, at_ms: u64) {
        self.window_from_ms = at_ms;
    }

    /// Whether what is unknown may be.
    pub(crate) fn is_known_enough(&self) -> bool {
        (self.ready.state != State::Unknown || self.allowed.unknown_ready)
            && (self.circuit.state != State::Unknown || self.allowed.unknown_metrics)
            && self.client.state != State::Unknown
    }

    pub(crate) fn allows(&self, id: &str) -> bool {
        match id {
            "ready" => self.allowed.unknown_ready,
            "circuit" => self.allowed.unknown_metrics,
            _ => false,
        }
    }

    fn judge_ready(&self, ready: Seen<Readiness>) -> (State, String) {
        let ready = match ready {
            Seen::Unknown {
                unknown,
                failed: true,
            } => return (State::Fail, format!("GET /ready: {unknown}")),
            Seen::Unknown { unknown, .. } => return (State::Unknown, unknown),
            Seen::Known(ready) => ready,
        };
        if !ready.is_ready() {
            return (State::Fail, ready.words());
        }
        let mut state = State::Pass;
        for (name, health) in ready.dependencies() {
            let allowed = self.allowed.degraded.contains(&name);
            match health {
                Health::Down(_) | Health::Degraded(_) if !allowed => state = State::Fail,
                // Builds that do not tell of the others are older than they are.
                Health::NotTold if ["database", "redis"].contains(&name) => {
                    state = state.max(State::Unknown);
                }
                _ => {}
            }
        }
        (state, ready.words())
    }

    fn judge_circuit(
        &mut self,
        counted: Seen<Counted>,
        proxied: Option<Result<Proxied, Trouble>>,
    ) -> (State, String) {
        if proxied.is_some() {
            self.last_proxied = proxied;
        }
        let counted = match counted {
            Seen::Known(now) => {
                let before = self.last_counted.replace(now.clone());
                if let Some(failed) = failed_counters(before.as_ref(), &now) {
                    return (State::Fail, failed);
                }
                Ok(now)
            }
            Seen::Unknown {
                unknown,
                failed: true,
            } => return (State::Fail, format!("GET /api/v1/metrics: {unknown}")),
            Seen::Unknown { unknown, .. } => {
                self.last_counted = None;
                Err(unknown)
            }
        };
        // Counters stand still when nobody asks, too: a circuit between two rejects looks closed.
        let proof = match &self.last_proxied {
            Some(Ok(Proxied::Worked)) => "a pull through the edge works",
            Some(Ok(seen)) => return (State::Fail, seen.words()),
            Some(Err(trouble)) => {
                return (State::Fail, format!("a pull through the edge: {trouble}"));
            }
            None => return (State::Fail, "no answer from upstream since then".to_owned()),
        };
        match counted {
            Ok(now) => {
                let totals = &now.metrics.metrics;
                let words = format!(
                    "closed, opens stand at {}, rejects at {}; {proof}",
                    totals.vps_proxy_circuit_opens, totals.vps_proxy_circuit_rejects
                );
                (State::Pass, words)
            }
            Err(unknown) => (State::Unknown, format!("{unknown}; {proof}")),
        }
    }
}

/// What the counters hold against a recovery.
fn failed_counters(before: Option<&Counted>, now: &Counted) -> Option<String> {
    let totals = &now.metrics.metrics;
    if let Some(before) = before {
        if now.restarted_since(before) {
            return Some("counters fell: the edge was restarted, a new baseline begins".to_owned());
        }
        let was = &before.metrics.metrics;
        let opens = totals.vps_proxy_circuit_opens - was.vps_proxy_circuit_opens;
        let rejects = totals.vps_proxy_circuit_rejects - was.vps_proxy_circuit_rejects;
        if opens > 0 || rejects > 0 {
            return Some(format!(
                "rising: opened {opens} and rejected {rejects} times more"
            ));
        }
    }
    (now.circuit_open() == Some(true)).then(|| "open".to_owned())
}

fn judge_client(seen: ClientSeen) -> (State, String) {
    let there = matches!(seen.state, SyncState::Synced | SyncState::Syncing);
    match seen.strayed {
        Some(strayed) => (State::Fail, format!("was {strayed}, is {}", seen.words)),
        None if there && seen.link == Link::Stream => (State::Pass, seen.words),
        None => (State::Fail, seen.words),
    }
}
