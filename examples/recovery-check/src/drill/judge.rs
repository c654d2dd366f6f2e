//! What the counters and the calls mean. Nothing here asks or waits.

use evenkeel::wire::AiScope;
use evenkeel_proto::wire::SecretRotation;

use super::report::Criterion;
use super::sessions::Called;
use crate::handshake::State as Is;
use crate::probe::{Counted, Trouble};

/// One call with each session.
pub(super) type Round = Vec<(&'static str, Called)>;

/// What the edge told of its counters at one moment.
pub(super) struct Counters {
    all: Counted,
    rotation: SecretRotation,
}

impl Counters {
    pub(super) fn told(answer: Option<Result<Counted, Trouble>>) -> Result<Self, String> {
        let all = match answer {
            Some(Ok(all)) => all,
            Some(Err(trouble)) => return Err(trouble.to_string()),
            None => return Err("nobody said where the edge is".to_owned()),
        };
        let Some(reliability) = &all.metrics.reliability else {
            return Err("this build of the edge tells nothing of its secrets".to_owned());
        };
        Ok(Self {
            rotation: reliability.secret_rotation.clone(),
            all,
        })
    }

    pub(super) fn words(&self) -> String {
        let SecretRotation {
            fallback_decrypts,
            decrypt_failures,
            reencrypt_successes,
            reencrypt_failures,
        } = self.rotation;
        format!(
            "fallbackDecrypts {fallback_decrypts}, decryptFailures {decrypt_failures}, reencryptSuccesses \
             {reencrypt_successes}, reencryptFailures {reencrypt_failures}"
        )
    }
}

type Told = Result<Counters, String>;

pub(super) fn not_told(why: &str) -> Criterion {
    Criterion::new("counters", Is::Unknown, why)
}

pub(super) fn session_id(scope: &AiScope) -> &'static str {
    match scope {
        AiScope::Account => "account",
        _ => "device",
    }
}

/// Whether the latest round met a key that only the old secret opens.
pub(super) fn somebody_fell_back(told: &[Told]) -> bool {
    let [.., Ok(before), Ok(after)] = told else {
        return false;
    };
    after.rotation.fallback_decrypts > before.rotation.fallback_decrypts
}

/// All criteria of a check: `told` before the first round and after each one, `under_old` sessions not yet
/// seen to move.
pub(super) fn check(under_old: u64, told: &[Told], rounds: &[Round]) -> Vec<Criterion> {
    let sessions = sessions(rounds);
    let told: Vec<_> = match told.iter().map(Result::as_ref).collect::<Result<_, _>>() {
        Ok(told) => told,
        Err(why) => return vec![not_told(why), sessions],
    };
    if let Some(counters) = unusable(&told, rounds) {
        return vec![counters, sessions];
    }
    let [before, first, rest @ ..] = told.as_slice() else {
        return vec![not_told("there were too few samples"), sessions];
    };
    let last = rest.last().unwrap_or(first);
    let counters = Criterion::new("counters", Is::Pass, last.words());
    vec![
        counters,
        sessions,
        reencrypted(under_old, before, first),
        decrypt(before, last),
        second_access(&told),
    ]
}

/// The counters, where they cannot be compared.
fn unusable(told: &[&Counters], rounds: &[Round]) -> Option<Criterion> {
    for (pair, round) in told.windows(2).zip(rounds) {
        let [before, after] = pair else { continue };
        if after.all.restarted_since(&before.all) {
            return Some(not_told(
                "the edge was restarted between the samples; check again",
            ));
        }
        let requests = |counters: &Counters| counters.all.metrics.metrics.requests;
        if requests(after) - requests(before) < round.len() as u64 {
            return Some(not_told(
                "the calls are not in the counters: they are another instance's; ask the one that serves the calls",
            ));
        }
    }
    None
}

fn sessions(rounds: &[Round]) -> Criterion {
    let calls = || rounds.iter().flatten();
    let worst = calls().max_by_key(|(_, called)| called.state);
    match worst {
        Some((_, called)) if called.state == Is::Pass => {
            let words = format!("{} calls, all worked", calls().count());
            Criterion::new("sessions", Is::Pass, words)
        }
        Some((id, called)) => {
            let words = format!("{id}: {}", called.words);
            Criterion::new("sessions", called.state, words)
        }
        None => Criterion::new("sessions", Is::Unknown, "none was called"),
    }
}

fn reencrypted(under_old: u64, before: &Counters, first: &Counters) -> Criterion {
    let rose = first.rotation.reencrypt_successes - before.rotation.reencrypt_successes;
    let failures = first.rotation.reencrypt_failures - before.rotation.reencrypt_failures;
    let words = format!("reencryptSuccesses rose by {rose}, {under_old} were under the old secret");
    if failures > 0 {
        let words = format!("{words}; reencryptFailures rose by {failures}");
        Criterion::new("reencrypted", Is::Fail, words)
    } else if rose >= under_old {
        Criterion::new("reencrypted", Is::Pass, words)
    } else {
        let words =
            format!("{words}: the secret was not changed, or the edge does not run with it");
        Criterion::new("reencrypted", Is::Fail, words)
    }
}

fn decrypt(before: &Counters, last: &Counters) -> Criterion {
    match last.rotation.decrypt_failures - before.rotation.decrypt_failures {
        0 => Criterion::new("decrypt", Is::Pass, "decryptFailures stood still"),
        rose => {
            let words = format!("decryptFailures rose by {rose}: neither secret opens these keys");
            Criterion::new("decrypt", Is::Fail, words)
        }
    }
}

fn second_access(told: &[&Counters]) -> Criterion {
    let rose: Vec<_> = told
        .windows(2)
        .skip(1)
        .filter_map(|pair| match pair {
            [before, after] => {
                Some(after.rotation.fallback_decrypts - before.rotation.fallback_decrypts)
            }
            _ => None,
        })
        .collect();
    match rose.iter().min() {
        Some(0) => Criterion::new("second_access", Is::Pass, "fallbackDecrypts stood still"),
        Some(least) => {
            let words = format!(
                "fallbackDecrypts rose by at least {least} in each of {} further rounds: the keys do not stay \
                 moved, or others fall back all the time; check again when it is quieter",
                rose.len()
            );
            Criterion::new("second_access", Is::Unknown, words)
        }
        None => Criterion::new("second_access", Is::Unknown, "there was no second round"),
    }
}

/// Whether anybody still needs the old secret.
pub(super) fn stands_still(before: &Told, after: &Told) -> Criterion {
    let (before, after) = match (before, after) {
        (Ok(before), Ok(after)) => (before, after),
        (Err(why), _) | (_, Err(why)) => return Criterion::new("fallback", Is::Unknown, why),
    };
    if after.all.restarted_since(&before.all) {
        let words = "the edge was restarted meanwhile; finish again";
        return Criterion::new("fallback", Is::Unknown, words);
    }
    let since = after.rotation.fallback_decrypts;
    match since - before.rotation.fallback_decrypts {
        0 => {
            let words = format!("fallbackDecrypts stands at {since}");
            Criterion::new("fallback", Is::Pass, words)
        }
        rose => {
            let words =
                format!("fallbackDecrypts rose by {rose}: somebody still needs the old secret");
            Criterion::new("fallback", Is::Fail, words)
        }
    }
}

/// The operator's commands: the overlap with the present secret, the new one, and the deploy.
pub(super) const CHANGE: [&str; 3] = [
    "npx wrangler secret put KEY_ENCRYPTION_SECRET_PREV --config worker/wrangler.toml",
    "npm run worker:secret:set",
    "npm run worker:deploy",
];
pub(super) const END_OVERLAP: &str =
    "npx wrangler secret delete KEY_ENCRYPTION_SECRET_PREV --config worker/wrangler.toml";
pub(super) const ON_THE_EDGE: &str = "The counters are told on the edge's own machine only: run the drill there. Nothing was opened.";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// requests, fallbackDecrypts, decryptFailures, reencryptSuccesses, reencryptFailures
    fn told(counters: [u64; 5]) -> Told {
        let [requests, fallback, lost, moved, stuck] = counters;
        let metrics = json!({
            "metrics": { "requests": requests },
            "reliability": { "secretRotation": {
                "fallbackDecrypts": fallback, "decryptFailures": lost,
                "reencryptSuccesses": moved, "reencryptFailures": stuck,
            } },
        });
        let metrics = serde_json::from_value(metrics).unwrap();
        Counters::told(Some(Ok(Counted { metrics })))
    }

    fn round(states: &[Is]) -> Round {
        let called = |state: &Is| Called {
            state: *state,
            words: "as told".to_owned(),
        };
        states
            .iter()
            .map(|state| ("device", called(state)))
            .collect()
    }

    fn judged(told: &[Told], rounds: &[Round]) -> Vec<(&'static str, Is)> {
        let criteria = check(2, told, rounds);
        criteria.into_iter().map(|c| (c.id, c.state)).collect()
    }

    const WORKS: [Is; 2] = [Is::Pass, Is::Pass];

    fn worst(samples: &[[u64; 5]]) -> (&'static str, Is) {
        let told: Vec<_> = samples.iter().copied().map(self::told).collect();
        let rounds: Vec<_> = samples[1..].iter().map(|_| round(&WORKS)).collect();
        let all = judged(&told, &rounds);
        all.into_iter().max_by_key(|(_, state)| *state).unwrap()
    }

    #[test]
    fn only_a_change_that_was_seen_passes() {
        let good = [[10, 0, 0, 0, 0], [12, 2, 0, 2, 0], [14, 2, 0, 2, 0]];
        assert_eq!(worst(&good).1, Is::Pass);
        // Others' calls: a later round finds it quiet.
        let busy = [
            [10, 0, 0, 0, 0],
            [15, 5, 0, 5, 0],
            [18, 6, 0, 6, 0],
            [20, 6, 0, 6, 0],
        ];
        assert_eq!(worst(&busy).1, Is::Pass);
        for (samples, wanted) in [
            (
                [[10, 0, 0, 0, 0], [12, 0, 0, 0, 0], [14, 0, 0, 0, 0]],
                ("reencrypted", Is::Fail),
            ),
            (
                [[10, 0, 0, 0, 0], [12, 1, 0, 1, 0], [14, 1, 0, 1, 0]],
                ("reencrypted", Is::Fail),
            ),
            (
                [[10, 0, 0, 0, 0], [12, 2, 0, 2, 1], [14, 2, 0, 2, 1]],
                ("reencrypted", Is::Fail),
            ),
            (
                [[10, 0, 0, 0, 0], [13, 2, 0, 2, 0], [15, 2, 1, 2, 0]],
                ("decrypt", Is::Fail),
            ),
            (
                [[10, 0, 0, 0, 0], [12, 2, 0, 2, 0], [14, 4, 0, 4, 0]],
                ("second_access", Is::Unknown),
            ),
            // Restarted between two samples, and counters of an instance that does not serve the calls.
            (
                [[10, 3, 0, 3, 0], [12, 5, 0, 5, 0], [2, 0, 0, 0, 0]],
                ("counters", Is::Unknown),
            ),
            (
                [[10, 0, 0, 0, 0], [10, 2, 0, 2, 0], [10, 2, 0, 2, 0]],
                ("counters", Is::Unknown),
            ),
        ] {
            assert_eq!(worst(&samples), wanted, "{samples:?}");
        }
    }

    #[test]
    fn a_session_that_does_not_work_decides() {
        let samples = [[10, 0, 0, 0, 0], [12, 2, 0, 2, 0]].map(told);
        for state in [Is::Fail, Is::Unknown] {
            let all = judged(&samples, &[round(&[Is::Pass, state])]);
            assert!(all.contains(&("sessions", state)), "{all:?}");
            assert!(all.contains(&("second_access", Is::Unknown)), "{all:?}");
        }
    }

    #[test]
    fn an_older_build_tells_nothing_of_its_secrets() {
        let metrics = serde_json::from_value(json!({ "metrics": { "requests": 1 } })).unwrap();
        assert!(Counters::told(Some(Ok(Counted { metrics }))).is_err());
        let still = stands_still(&told([1, 2, 0, 2, 0]), &told([5, 2, 0, 2, 0]));
        assert_eq!(still.state, Is::Pass);
        let fell = stands_still(&told([5, 2, 0, 2, 0]), &told([1, 0, 0, 0, 0]));
        assert_eq!(fell.state, Is::Unknown);
        let rose = stands_still(&told([1, 2, 0, 2, 0]), &told([5, 3, 0, 3, 0]));
        assert_eq!(rose.state, Is::Fail);
    }
}
