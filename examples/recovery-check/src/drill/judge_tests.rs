use serde_json::json;

use super::super::counters::Counters;
use super::*;

/// requests, fallbackDecrypts, decryptFailures, reencryptSuccesses, reencryptFailures
type Sample = [u64; 5];

fn metrics(counters: Sample) -> EdgeMetrics {
    let [requests, fallback, lost, moved, stuck] = counters;
    let metrics = json!({
        "metrics": { "requests": requests },
        "reliability": { "secretRotation": {
            "fallbackDecrypts": fallback, "decryptFailures": lost,
            "reencryptSuccesses": moved, "reencryptFailures": stuck,
        } },
    });
    serde_json::from_value(metrics).unwrap()
}

fn told(counters: Sample) -> Told {
    let metrics = metrics(counters);
    Counters::told(Some(Ok(Counted { metrics })))
}

const BEGUN: Sample = [50, 0, 0, 0, 0];
const OLD: [Key; 2] = [Key::Old, Key::Old];

/// A device's session and an account's, in turns.
fn judged(begun: Sample, was: [Key; 2], samples: &[Sample], states: &[Is]) -> Found {
    let told: Vec<_> = samples.iter().copied().map(self::told).collect();
    let accesses: Vec<_> = (1..samples.len())
        .map(|n| n - 1)
        .map(|n| Access {
            scope: [AiScope::Device, AiScope::Account][n % 2].clone(),
            round: n / 2,
            was: was[n % 2],
            called: Called {
                state: states.get(n).copied().unwrap_or(Is::Pass),
                words: "as told".to_owned(),
            },
        })
        .collect();
    check(&metrics(begun), &told, &accesses)
}

fn state_of(found: &Found, id: &str) -> Is {
    let found = found.criteria.iter().find(|criterion| criterion.id == id);
    found.unwrap().state
}

fn worst(found: &Found) -> (&'static str, Is) {
    let worst = found
        .criteria
        .iter()
        .max_by_key(|criterion| criterion.state);
    let worst = worst.unwrap();
    (worst.id, worst.state)
}

const MOVED: [Sample; 5] = [
    [3, 0, 0, 0, 0],
    [4, 1, 0, 1, 0],
    [5, 2, 0, 2, 0],
    [6, 2, 0, 2, 0],
    [7, 2, 0, 2, 0],
];

#[test]
fn a_change_that_was_seen_passes_and_is_remembered() {
    let found = judged(BEGUN, OLD, &MOVED, &[]);
    assert_eq!(worst(&found).1, Is::Pass);
    assert_eq!(found.keys, [Key::Moved; 2]);
    let still = [
        [9, 2, 0, 2, 0],
        [10, 2, 0, 2, 0],
        [11, 2, 0, 2, 0],
        [12, 2, 0, 2, 0],
        [13, 2, 0, 2, 0],
    ];
    let again = judged(BEGUN, [Key::Moved; 2], &still, &[]);
    assert_eq!(worst(&again).1, Is::Pass);
}

#[test]
fn a_change_that_did_not_happen_fails() {
    let still = [
        [60, 0, 0, 0, 0],
        [61, 0, 0, 0, 0],
        [62, 0, 0, 0, 0],
        [63, 0, 0, 0, 0],
        [64, 0, 0, 0, 0],
    ];
    let found = judged(BEGUN, OLD, &still, &[]);
    assert_eq!(worst(&found), ("reencrypted", Is::Fail));
    assert_eq!(found.keys, OLD, "they can show it another time");
    // Others, whom an earlier change moves, are not the drill's sessions.
    let others = [
        [60, 5, 0, 5, 0],
        [61, 5, 0, 5, 0],
        [66, 8, 0, 8, 0],
        [67, 8, 0, 8, 0],
        [68, 8, 0, 8, 0],
    ];
    let found = judged(BEGUN, OLD, &others, &[]);
    assert_eq!(state_of(&found, "reencrypted"), Is::Fail);
    assert_eq!(found.keys, OLD);
    let stuck = [
        [3, 0, 0, 0, 0],
        [4, 1, 0, 0, 1],
        [5, 2, 0, 0, 2],
        [6, 3, 0, 0, 3],
        [7, 4, 0, 0, 4],
    ];
    let found = judged(BEGUN, OLD, &stuck, &[]);
    assert_eq!(state_of(&found, "reencrypted"), Is::Fail);
    assert_eq!(
        state_of(&found, "second_access"),
        Is::Fail,
        "nobody else was there"
    );
    let lost = [[3, 0, 0, 0, 0], [4, 0, 1, 0, 0], [5, 0, 2, 0, 0]];
    let found = judged(BEGUN, OLD, &lost, &[Is::Fail, Is::Fail]);
    for id in ["sessions", "reencrypted", "decrypt"] {
        assert_eq!(state_of(&found, id), Is::Fail, "{id}");
    }
    assert_eq!(found.keys, OLD, "the overlap put back mends it");
}

#[test]
fn calls_of_others_make_it_unknown_and_never_wrong() {
    // In the further rounds, too: one that is quiet is enough.
    let busy = [
        [3, 0, 0, 0, 0],
        [9, 3, 0, 3, 0],
        [15, 6, 0, 6, 0],
        [22, 9, 0, 9, 0],
        [30, 12, 0, 12, 0],
    ];
    let found = judged(BEGUN, OLD, &busy, &[]);
    assert_eq!(worst(&found).1, Is::Unknown);
    assert_eq!(found.keys, [Key::Unsure; 2], "whose were they?");
    let mut quiet = busy.to_vec();
    quiet.extend([[34, 12, 0, 12, 0], [38, 12, 0, 12, 0]]);
    let found = judged(BEGUN, OLD, &quiet, &[]);
    assert_eq!(worst(&found).1, Is::Pass);
    // They fell back before anything was changed.
    let found = judged([50, 7, 0, 7, 0], OLD, &quiet, &[]);
    assert_eq!(worst(&found), ("reencrypted", Is::Unknown));
    // Somebody's key is lost or stuck, and the drill's are not.
    for (sample, id) in [
        ([9, 2, 1, 2, 0], "decrypt"),
        ([9, 3, 0, 2, 1], "reencrypted"),
    ] {
        let mut samples = MOVED;
        samples[2] = sample;
        for (n, later) in samples[3..].iter_mut().enumerate() {
            *later = sample;
            later[0] += 1 + n as u64;
        }
        let found = judged(BEGUN, OLD, &samples, &[]);
        assert_eq!(worst(&found), (id, Is::Unknown));
        assert_eq!(found.keys, [Key::Moved; 2]);
    }
}

#[test]
fn an_account_whose_user_came_first_counts_as_moved() {
    let samples = [
        [3, 1, 0, 1, 0],
        [4, 2, 0, 2, 0],
        [5, 2, 0, 2, 0],
        [6, 2, 0, 2, 0],
        [7, 2, 0, 2, 0],
    ];
    let found = judged(BEGUN, OLD, &samples, &[]);
    assert_eq!(worst(&found).1, Is::Pass);
    assert_eq!(found.keys, [Key::Moved; 2]);
}

#[test]
fn what_was_not_seen_is_unknown_and_a_reserve_shows_it() {
    for samples in [
        // Restarted between two samples.
        [
            [60, 3, 0, 3, 0],
            [2, 0, 0, 0, 0],
            [3, 0, 0, 0, 0],
            [4, 0, 0, 0, 0],
            [5, 0, 0, 0, 0],
        ],
        // Counters of an instance that does not serve the calls.
        [[60, 0, 0, 0, 0]; 5],
    ] {
        let found = judged(BEGUN, OLD, &samples, &[]);
        assert_eq!(worst(&found), ("counters", Is::Unknown));
        assert_eq!(found.keys[0], Key::Unsure);
    }
    let spent = [
        [3, 1, 0, 1, 0],
        [4, 1, 0, 1, 0],
        [5, 1, 0, 1, 0],
        [6, 1, 0, 1, 0],
        [7, 1, 0, 1, 0],
    ];
    let found = judged(BEGUN, [Key::Unsure; 2], &spent, &[]);
    assert_eq!(worst(&found), ("reencrypted", Is::Unknown));
    // A new session of a device, and the account that was used unseen.
    let fresh = [
        [3, 1, 0, 1, 0],
        [4, 2, 0, 2, 0],
        [5, 2, 0, 2, 0],
        [6, 2, 0, 2, 0],
        [7, 2, 0, 2, 0],
    ];
    let found = judged(BEGUN, [Key::Old, Key::Unsure], &fresh, &[]);
    assert_eq!(worst(&found).1, Is::Pass);
    assert_eq!(found.keys, [Key::Moved; 2]);
}

#[test]
fn a_provider_in_trouble_is_not_the_secret_s() {
    // Opened and moved; only then was the provider asked.
    let found = judged(BEGUN, OLD, &MOVED[..3], &[Is::Unknown; 2]);
    assert_eq!(worst(&found).1, Is::Unknown);
    assert_eq!(state_of(&found, "reencrypted"), Is::Pass);
    assert_eq!(found.keys, [Key::Moved; 2]);
    // It does not take the key any more.
    let found = judged(BEGUN, OLD, &MOVED[..3], &[Is::Pass, Is::Fail]);
    assert_eq!(worst(&found).1, Is::Unknown);
    // The edge was not reached at all.
    let nothing = [[60, 0, 0, 0, 0]; 3];
    let found = judged(BEGUN, OLD, &nothing, &[Is::Unknown; 2]);
    assert_eq!(worst(&found).1, Is::Unknown);
    assert_eq!(found.keys, OLD);
}

#[test]
fn only_counters_that_stand_still_end_an_overlap() {
    let metrics = serde_json::from_value(json!({ "metrics": { "requests": 1 } })).unwrap();
    assert!(
        Counters::told(Some(Ok(Counted { metrics }))).is_err(),
        "an older build"
    );
    for (after, state) in [
        ([5, 2, 0, 2, 0], Is::Pass),
        ([1, 0, 0, 0, 0], Is::Unknown),
        ([5, 3, 0, 3, 0], Is::Fail),
    ] {
        assert_eq!(
            stands_still(&told([2, 2, 0, 2, 0]), &told(after)).state,
            state
        );
    }
}
