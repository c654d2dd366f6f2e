//! Whether all was well at the end: the runbook's exit criteria over the recording's last window, judged
//! by the very code of `verify`, to which the recording is played back.

use std::time::Duration;

use evenkeel::{Link, SyncState};

use super::lanes::{Lane, Level};
use super::story::Story;
use super::words::span;
use crate::handshake::State;
use crate::probe::{Counted, Proxied, Readiness};
use crate::recording::{Sample, StatusRead};
use crate::verify::criteria::{Allowed, ClientSeen, Criteria, Criterion};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There was no trouble at all.
    Healthy,
    Recovered,
    NotRecovered,
    Unknown,
}

impl Verdict {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Recovered => "recovered",
            Self::NotRecovered => "not_recovered",
            Self::Unknown => "unknown",
        }
    }
}

pub(crate) fn judge(story: &Story, window: Duration) -> (Verdict, [Criterion; 3]) {
    let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
    let from = story.to.saturating_sub(window_ms);
    let mut criteria = story.replay.since(from);
    let gap = story.gaps.iter().any(|(_, until)| *until > from);
    if from < story.from || gap {
        for criterion in criteria.iter_mut().filter(|c| c.state == State::Pass) {
            criterion.state = State::Unknown;
            criterion.evidence = format!(
                "{}; less than {} recorded at the end",
                criterion.evidence,
                span(window_ms)
            );
        }
    }
    let any = |state| criteria.iter().any(|criterion| criterion.state == state);
    let verdict = if any(State::Fail) {
        Verdict::NotRecovered
    } else if any(State::Unknown) {
        Verdict::Unknown
    } else if trouble(story) {
        Verdict::Recovered
    } else {
        Verdict::Healthy
    };
    (verdict, criteria)
}

fn trouble(story: &Story) -> bool {
    let bad = |lane: &Lane| lane.spans.iter().any(|span| span.level == Level::Bad);
    let lame = |lane: &Lane| lane.spans.iter().any(|span| span.level == Level::Busy);
    bad(&story.client)
        || bad(&story.circuit)
        || story.origin.iter().any(|lane| bad(lane) || lame(lane))
}

/// A recording played back to `verify`'s criteria, and until when each last did not hold.
#[derive(Debug)]
pub(crate) struct Replay {
    criteria: Criteria,
    trails: [Trail; 3],
    /// Which criteria count: what a client is before it was ever there is no outage.
    begun: [bool; 3],
    /// The client has come through the edge, and has everything.
    synced: bool,
    /// It was so once, or could not: what it had not asked for yet is no fault of the circuit's.
    tried: bool,
}

/// Until when a criterion failed or was unknown, and what was said of it then.
#[derive(Clone, Debug, Default)]
struct Trail {
    failed: Option<(u64, String)>,
    unknown: Option<(u64, String)>,
}

impl Replay {
    pub(crate) fn new() -> Self {
        Self {
            criteria: Criteria::new(Allowed::default(), 0),
            trails: Default::default(),
            begun: [false; 3],
            synced: false,
            tried: false,
        }
    }

    pub(crate) fn client(&mut self, at: u64, status: &StatusRead) {
        self.hold(at);
        let Some(state) = SyncState::from_name(&status.state) else {
            // Of a later version.
            let words = format!("in an unknown state: {}", status.state);
            self.criteria.client.set(at, State::Unknown, words);
            (self.begun[CLIENT], self.synced) = (true, false);
            return;
        };
        // Whatever else it is, it is no stream.
        let link = Link::from_name(&status.link).unwrap_or(Link::None);
        let cause = status.cause.as_ref();
        let seen = ClientSeen {
            state,
            link,
            words: match cause {
                Some(cause) => format!("{state}: {cause}, link {link}"),
                None => format!("{state}, link {link}"),
            },
            strayed: None,
        };
        self.criteria.observe_client(at, seen);
        self.synced = state == SyncState::Synced && link == Link::Stream;
        self.begun[CLIENT] |= link == Link::Stream || state == SyncState::Degraded;
        self.tried |= self.synced || state == SyncState::Degraded;
    }

    pub(crate) fn sample(&mut self, at: u64, sample: &Sample) {
        self.hold(at);
        let ready = sample.ready.clone().map(|answer| Readiness {
            status: answer.status,
            ready: answer.body,
        });
        let counted = sample.edge.clone().map(|metrics| Counted { metrics });
        // A client that is synced has pulled through the edge.
        let proxied = self.synced.then_some(Ok(Proxied::Worked));
        self.criteria.observe_service(at, ready, counted, proxied);
        (self.begun[READY], self.begun[CIRCUIT]) = (true, self.tried);
    }

    /// Nothing is known from here on.
    pub(crate) fn gap(&mut self, at: u64) {
        self.hold(at);
        let trails = std::mem::take(&mut self.trails);
        *self = Self {
            trails,
            ..Self::new()
        };
    }

    pub(crate) fn end(&mut self, at: u64) {
        if !self.begun[CIRCUIT] && self.criteria.client.state != State::Fail {
            let words = "no client was seen to come through the edge".to_owned();
            self.criteria.circuit.set(at, State::Unknown, words);
        }
        self.begun = [true; 3];
        self.hold(at);
    }

    /// The criteria at their worst from this time on.
    fn since(&self, from: u64) -> [Criterion; 3] {
        let mut trails = self.trails.iter();
        self.criteria.all().map(|criterion| {
            let mut criterion = criterion.clone();
            let trail = trails.next().cloned().unwrap_or_default();
            for (state, last) in [(State::Unknown, trail.unknown), (State::Fail, trail.failed)] {
                if let Some((_, evidence)) = last.filter(|(until, _)| *until >= from) {
                    (criterion.state, criterion.evidence) = (state, evidence);
                }
            }
            criterion
        })
    }

    /// What was seen last was so until now.
    fn hold(&mut self, at: u64) {
        let all = self.criteria.all().into_iter().zip(self.begun);
        for (trail, (criterion, begun)) in self.trails.iter_mut().zip(all) {
            let last = match criterion.state {
                State::Fail if begun => &mut trail.failed,
                State::Unknown if begun => &mut trail.unknown,
                _ => continue,
            };
            *last = Some((at, criterion.evidence.clone()));
        }
    }
}

/// The order of [`Criteria::all`].
const READY: usize = 0;
const CIRCUIT: usize = 1;
const CLIENT: usize = 2;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::super::read::Unread;
    use super::*;

    /// A service that is well, looked at each second, with what differs at some of them.
    fn told(seconds: u64, differs: impl Fn(u64, &mut Value, &mut Value)) -> (Verdict, [State; 3]) {
        let mut story = Story::new();
        for n in 0..=seconds {
            let mut status = json!({ "event": "status", "state": "synced", "link": "stream" });
            let mut sample = json!({ "event": "sample",
                "ready": { "status": 200, "body": { "ok": true, "dependencies": {
                    "database": { "ok": true }, "redis": { "ok": true } } } },
                "edge": { "metrics": { "vpsProxyCircuitOpens": 2, "vpsProxyCircuitRejects": 9 },
                    "vpsProxyCircuit": { "open": false } } });
            differs(n, &mut status, &mut sample);
            for mut line in [status, sample] {
                line["at_ms"] = json!(1_000_000 + n * 1_000);
                line["elapsed_ms"] = json!(n * 1_000);
                story.take(serde_json::from_value(line).unwrap());
            }
        }
        let story = story.told(Unread::default()).unwrap();
        let (verdict, criteria) = judge(&story, Duration::from_secs(30));
        (verdict, criteria.map(|criterion| criterion.state))
    }

    #[test]
    fn what_was_well_all_the_time_is_healthy_and_a_start_is_no_outage() {
        let (verdict, states) = told(60, |n, status, _| {
            if n == 0 {
                *status = json!({ "event": "status", "state": "syncing", "link": "none" });
            }
        });
        assert_eq!((verdict, states), (Verdict::Healthy, [State::Pass; 3]));
        for link in ["none", "stream"] {
            let (verdict, states) = told(20, |n, status, _| {
                if n < 2 {
                    *status = json!({ "event": "status", "state": "syncing", "link": link });
                }
            });
            assert_eq!((verdict, states), (Verdict::Unknown, [State::Unknown; 3]));
        }
    }

    #[test]
    fn one_reject_inside_the_window_is_no_recovery_and_one_before_it_is() {
        let rejected_at = |at| {
            told(60, move |n, _, sample| {
                if n >= at {
                    sample["edge"]["metrics"]["vpsProxyCircuitRejects"] = json!(10);
                }
            })
        };
        let (verdict, states) = rejected_at(45);
        assert_eq!(verdict, Verdict::NotRecovered);
        assert_eq!(states, [State::Pass, State::Fail, State::Pass]);
        assert_eq!(rejected_at(20).1, [State::Pass; 3]);
    }

    #[test]
    fn a_restart_inside_the_window_begins_it_again() {
        let (verdict, states) = told(60, |n, _, sample| {
            if n >= 45 {
                sample["edge"]["metrics"] = json!({});
            }
        });
        assert_eq!(verdict, Verdict::NotRecovered);
        assert_eq!(states[CIRCUIT], State::Fail);
    }

    #[test]
    fn a_client_that_only_polls_and_an_origin_that_does_not_answer_are_failures() {
        let (verdict, states) = told(60, |_, status, sample| {
            status["link"] = json!("polling");
            sample["ready"] = json!({ "unknown": "TCP: connection refused", "failed": true });
        });
        assert_eq!((verdict, states), (Verdict::NotRecovered, [State::Fail; 3]));
    }

    #[test]
    fn what_is_not_told_is_unknown() {
        let (verdict, states) = told(60, |_, _, sample| {
            sample["ready"] = json!({ "unknown": "no --origin was given" });
            sample["edge"] = json!({ "unknown": "404" });
        });
        assert_eq!(verdict, Verdict::Unknown);
        assert_eq!(states, [State::Unknown, State::Unknown, State::Pass]);
    }

    #[test]
    fn an_origin_that_did_not_answer_for_a_while_was_trouble() {
        let (verdict, states) = told(90, |n, _, sample| {
            if n == 20 {
                sample["ready"] = json!({ "unknown": "TCP: connection refused", "failed": true });
            }
        });
        assert_eq!((verdict, states), (Verdict::Recovered, [State::Pass; 3]));
    }

    #[test]
    fn what_lasts_is_one_span_however_long_it_says_it_does() {
        let mut story = Story::new();
        for n in 1..=10_u64 {
            let line = json!({ "event": "sample", "at_ms": n * 1_000, "elapsed_ms": n * 1_000,
                "edge": { "unknown": "404" },
                "ready": { "status": 503, "body": { "ok": false, "dependencies": {
                    "redis": { "ok": false, "degradedForMs": n * 1_000 },
                    "realtime": { "degraded": true, "degradedForMs": n * 1_000 } } } } });
            story.take(serde_json::from_value(line).unwrap());
        }
        let story = story.told(Unread::default()).unwrap();
        for lane in &story.origin {
            assert_eq!(lane.spans.len(), 1, "{lane:?}");
        }
    }

    #[test]
    fn recovered_is_what_failed_before_the_window() {
        let (verdict, states) = told(90, |n, status, sample| {
            if n < 50 {
                *status = json!({ "event": "status", "state": "degraded", "link": "none",
                    "cause": "circuit_open" });
                sample["edge"]["vpsProxyCircuit"]["open"] = json!(true);
            }
        });
        assert_eq!((verdict, states), (Verdict::Recovered, [State::Pass; 3]));
    }
}
