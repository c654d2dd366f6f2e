//! Outages as sequences of samples, a second apart.

use std::time::Duration;

use evenkeel::{Link, SyncState};
use serde_json::{Value, json};

use super::criteria::{Allowed, ClientSeen, Criteria, Sample};
use crate::handshake::State;
use crate::probe::{Counted, Proxied, Readiness, Refusal, Trouble};
use crate::recording::Seen;

fn readiness(redis: Value) -> Seen<Readiness> {
    let ready =
        json!({ "ok": true, "dependencies": { "database": { "ok": true }, "redis": redis } });
    let ready = serde_json::from_value(ready).unwrap();
    Seen::Known(Readiness { status: 200, ready })
}

fn counted(requests: u64, opens: u64, rejects: u64, open: bool) -> Seen<Counted> {
    let metrics = json!({
        "metrics": { "requests": requests, "vpsProxyCircuitOpens": opens,
                     "vpsProxyCircuitRejects": rejects },
        "vpsProxyCircuit": { "open": open },
    });
    Seen::Known(Counted {
        metrics: serde_json::from_value(metrics).unwrap(),
    })
}

fn refused(cause: &str) -> Option<Result<Proxied, Trouble>> {
    Some(Ok(Proxied::Refused(Refusal {
        status: 503,
        cause: Some(cause.to_owned()),
        code: None,
        message: String::new(),
        retry_after: None,
    })))
}

fn client(state: SyncState, link: Link) -> ClientSeen {
    ClientSeen {
        state,
        link,
        words: format!("{state} {link}"),
        strayed: None,
    }
}

fn good() -> Sample {
    Sample {
        ready: readiness(json!({ "ok": true })),
        counted: counted(5, 1, 7, false),
        proxied: Some(Ok(Proxied::Worked)),
        client: client(SyncState::Synced, Link::Stream),
    }
}

/// For how long it has held after each of these samples, in seconds.
fn held(allowed: Allowed, samples: Vec<Sample>) -> (Vec<Option<u64>>, Criteria) {
    let mut criteria = Criteria::new(allowed, 0);
    let held = samples
        .into_iter()
        .enumerate()
        .map(|(n, sample)| {
            let at_ms = n as u64 * 1_000;
            criteria.observe(at_ms, sample);
            criteria.held(at_ms).as_ref().map(Duration::as_secs)
        })
        .collect();
    (held, criteria)
}

fn with(change: impl FnOnce(&mut Sample)) -> Sample {
    let mut sample = good();
    change(&mut sample);
    sample
}

#[test]
fn a_window_is_counted_from_the_last_failure_of_any() {
    let (held, criteria) = held(
        Allowed::default(),
        vec![
            good(),
            good(),
            with(|s| s.client = client(SyncState::Degraded, Link::Stream)),
            good(),
            good(),
        ],
    );
    assert_eq!(held, [Some(0), Some(1), None, Some(0), Some(1)]);
    assert_eq!(criteria.ready.since_ms, 0);
    assert_eq!(criteria.client.since_ms, 3_000);
    assert!(criteria.is_known_enough());
}

#[test]
fn one_reject_starts_the_window_again_and_needs_a_new_proof() {
    let rejected = with(|s| s.counted = counted(6, 1, 8, false));
    let silent = with(|s| {
        s.counted = counted(6, 1, 8, false);
        s.proxied = None;
    });
    let proven = with(|s| s.counted = counted(7, 1, 8, false));
    let (held, _) = held(
        Allowed::default(),
        vec![good(), good(), rejected, silent, proven.clone(), proven],
    );
    assert_eq!(held, [Some(0), Some(1), None, None, Some(0), Some(1)]);
}

#[test]
fn a_circuit_that_looks_closed_between_two_rejects_does_not_pass() {
    // Nobody asks, so the counters stand still and the window of the circuit has passed.
    let half_open = |proxied| {
        with(|s| {
            s.counted = counted(6, 2, 9, false);
            s.proxied = proxied;
        })
    };
    let samples = vec![
        half_open(refused("circuit_open")),
        half_open(None),
        half_open(None),
        half_open(refused("network_error")),
        half_open(None),
    ];
    let (held, criteria) = held(Allowed::default(), samples);
    assert_eq!(held, [None; 5]);
    assert!(criteria.circuit.evidence.contains("network_error"));
    assert!(!criteria.wants_proof(), "a refusal's time is waited for");
}

#[test]
fn counters_that_fall_are_a_restart_and_not_a_recovery() {
    let samples = vec![
        good(),
        good(),
        with(|s| s.counted = counted(0, 0, 0, false)),
        with(|s| s.counted = counted(1, 0, 0, false)),
    ];
    let mut criteria = Criteria::new(Allowed::default(), 0);
    let mut said = Vec::new();
    for (n, sample) in samples.into_iter().enumerate() {
        criteria.observe(n as u64 * 1_000, sample);
        said.push((criteria.circuit.state, criteria.circuit.evidence.clone()));
    }
    assert_eq!(said[2].0, State::Fail);
    assert!(said[2].1.contains("restarted, a new baseline"), "{said:?}");
    assert_eq!(said[3].0, State::Pass);
    assert_eq!(criteria.held(3_000), Some(Duration::ZERO));
}

#[test]
fn ready_with_a_degraded_dependency_does_not_pass_unless_allowed() {
    let degraded = || with(|s| s.ready = readiness(json!({ "ok": true, "degraded": true })));
    let (now, _) = held(Allowed::default(), vec![degraded()]);
    assert_eq!(now, [None]);
    let allowed = Allowed {
        degraded: vec!["redis"],
        ..Allowed::default()
    };
    let (now, criteria) = held(allowed, vec![degraded()]);
    assert_eq!(now, [Some(0)]);
    assert!(criteria.ready.evidence.contains("DEGRADED"));
}

#[test]
fn a_client_that_polls_or_strayed_does_not_pass() {
    for (state, link, strayed) in [
        (SyncState::Synced, Link::Polling, None),
        (SyncState::Syncing, Link::None, None),
        (SyncState::Synced, Link::Stream, Some("degraded".to_owned())),
    ] {
        let sample = with(|s| {
            s.client = client(state, link);
            s.client.strayed = strayed;
        });
        assert_eq!(held(Allowed::default(), vec![sample]).0, [None]);
    }
    let syncing = with(|s| s.client = client(SyncState::Syncing, Link::Stream));
    assert_eq!(held(Allowed::default(), vec![syncing]).0, [Some(0)]);
}

#[test]
fn what_cannot_be_told_is_unknown_until_it_is_allowed_and_a_refusal_counts_all_the_same() {
    let untold = || with(|s| s.counted = Seen::unknown("404"));
    let (now, criteria) = held(Allowed::default(), vec![untold(), untold()]);
    assert_eq!(now, [Some(0), Some(1)]);
    assert_eq!(criteria.circuit.state, State::Unknown);
    assert!(!criteria.is_known_enough());
    let allowed = || Allowed {
        unknown_metrics: true,
        ..Allowed::default()
    };
    assert!(held(allowed(), vec![untold()]).1.is_known_enough());
    let mut refusing = untold();
    refusing.proxied = refused("circuit_open");
    let (now, criteria) = held(allowed(), vec![refusing]);
    assert_eq!(now, [None]);
    assert_eq!(criteria.circuit.state, State::Fail);

    let nowhere = with(|s| s.ready = Seen::unknown("nobody said where"));
    assert!(!held(allowed(), vec![nowhere]).1.is_known_enough());
    let bare = with(|s| {
        let ready = serde_json::from_value(json!({ "ok": true })).unwrap();
        s.ready = Seen::Known(Readiness { status: 200, ready });
    });
    assert_eq!(held(allowed(), vec![bare]).1.ready.state, State::Unknown);
}
