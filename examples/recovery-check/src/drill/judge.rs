//! What the counters and the calls mean. Nothing here asks or waits.

use evenkeel::wire::AiScope;
use evenkeel_proto::wire::EdgeMetrics;

use super::counters::{Rose, Told};
use super::report::Criterion;
use super::sessions::{self, Called};
use super::state::Key;
use crate::handshake::State as Is;
use crate::probe::Counted;

/// A call with a session; the counters were told before the first one, and after each.
pub(super) struct Access {
    pub(super) scope: AiScope,
    pub(super) round: usize,
    /// Before this check.
    pub(super) was: Key,
    pub(super) called: Called,
}

/// What a check found.
pub(super) struct Found {
    pub(super) criteria: Vec<Criterion>,
    /// Where the keys are now, in the order of the first round.
    pub(super) keys: Vec<Key>,
}

/// An access, and what the counters did meanwhile.
struct Seen<'a> {
    access: &'a Access,
    rose: Result<Rose, &'a str>,
}

pub(super) fn not_told(why: &str) -> Criterion {
    Criterion::new("counters", Is::Unknown, why)
}

/// Whether the latest round met a key that only the old secret opens.
pub(super) fn somebody_fell_back(told: &[Told], calls: usize) -> bool {
    let before = told.iter().rev().nth(calls);
    let (Some(Ok(before)), Some(Ok(after))) = (before, told.last()) else {
        return false;
    };
    after.fallbacks() > before.fallbacks()
}

/// All criteria of a check. `begun` is what the edge had counted when the drill began.
pub(super) fn check(begun: &EdgeMetrics, told: &[Told], accesses: &[Access]) -> Found {
    let seen: Vec<_> = told
        .windows(2)
        .zip(accesses)
        .filter_map(|(pair, access)| match pair {
            [before, after] => Some(Seen {
                access,
                rose: Rose::between(before, after, access.called.state == Is::Pass),
            }),
            _ => None,
        })
        .collect();
    let quiet = quiet(&seen);
    let first: Vec<_> = seen.iter().filter(|seen| seen.access.round == 0).collect();
    // Others who fell back before anything was changed do so now, too.
    let before = begun.reliability.as_ref();
    let noisy = before.is_some_and(|r| r.secret_rotation.fallback_decrypts > 0)
        || quiet.is_some_and(|quiet| quiet > 0);
    let keys = keys(&first, noisy);
    let sessions = sessions(&seen);
    let unusable = seen.iter().find_map(|seen| seen.rose.err());
    let last = told.last().and_then(|told| told.as_ref().ok());
    let criteria = match (unusable, last) {
        (Some(why), _) => vec![not_told(why), sessions],
        (None, None) => vec![not_told("there were too few samples"), sessions],
        (None, Some(last)) => {
            let restarted = last.restarted_since(&Counted {
                metrics: begun.clone(),
            });
            vec![
                Criterion::new("counters", Is::Pass, last.words()),
                sessions,
                reencrypted(&first, &keys, restarted),
                decrypt(&seen),
                second_access(&seen, quiet),
            ]
        }
    };
    Found { criteria, keys }
}

fn rises<'a>(seen: impl Iterator<Item = &'a Seen<'a>>) -> Rose {
    Rose::sum(seen.filter_map(|seen| seen.rose.ok()))
}

/// By how much fallbackDecrypts rose in the quietest of the later rounds.
fn quiet(seen: &[Seen<'_>]) -> Option<u64> {
    let rounds = seen.iter().map(|seen| seen.access.round).max()?;
    let of = |round| {
        let round = seen.iter().filter(|seen| seen.access.round == round);
        rises(round).fallbacks()
    };
    (1..=rounds).map(of).min()
}

/// Where each key is after its first access.
fn keys(first: &[&Seen<'_>], noisy: bool) -> Vec<Key> {
    let own = |seen: &Seen<'_>| match (seen.access.was, seen.rose) {
        (Key::Moved, _) => Key::Moved,
        (_, Err(_)) => Key::Unsure,
        (_, Ok(rose)) if rose.moved() > 0 && noisy && rose.others > 0 => Key::Unsure,
        (_, Ok(rose)) if rose.moved() > 0 => Key::Moved,
        (was, Ok(_)) => was,
    };
    let mut keys: Vec<_> = first.iter().map(|seen| own(seen)).collect();
    let account = |seen: &Seen<'_>| seen.access.scope == AiScope::Account;
    let opens = |seen: &Seen<'_>| {
        let works = seen.access.called.state == Is::Pass;
        works && seen.rose.is_ok_and(|rose| rose.fallbacks() == 0)
    };
    // Nobody else has the cookie of a device's session. While one of them is under the old secret and opens,
    // that secret is the active one, and what moved was others'.
    let unchanged = first
        .iter()
        .zip(&keys)
        .any(|(seen, key)| !account(seen) && *key == Key::Old && opens(seen));
    // Once one has moved, an account's key that opens without a fallback moved before: its user used it.
    let changed = first
        .iter()
        .zip(&keys)
        .any(|(seen, key)| !account(seen) && *key == Key::Moved);
    for (key, seen) in keys.iter_mut().zip(first) {
        if unchanged && *key == Key::Moved {
            *key = seen.access.was;
        } else if changed && !unchanged && opens(seen) {
            *key = Key::Moved;
        }
    }
    keys
}

fn sessions(seen: &[Seen<'_>]) -> Criterion {
    let state = |seen: &Seen<'_>| match (seen.access.called.state, seen.rose) {
        // Then it is not the secret that is in the way.
        (Is::Fail, Ok(rose)) if rose.lost() == 0 => Is::Unknown,
        (state, _) => state,
    };
    match seen.iter().max_by_key(|seen| state(seen)) {
        Some(worst) if state(worst) == Is::Pass => {
            let words = format!("{} calls, all worked", seen.len());
            Criterion::new("sessions", Is::Pass, words)
        }
        Some(worst) => {
            let Access { scope, called, .. } = worst.access;
            let id = sessions::id(scope);
            let aside = match (called.state, state(worst)) {
                (Is::Fail, Is::Unknown) => {
                    "; decryptFailures stood still: does its provider still take the key?"
                }
                _ => "",
            };
            let words = format!("{id}: {}{aside}", called.words);
            Criterion::new("sessions", state(worst), words)
        }
        None => Criterion::new("sessions", Is::Unknown, "none was called"),
    }
}

fn reencrypted(first: &[&Seen<'_>], keys: &[Key], restarted: bool) -> Criterion {
    let all = rises(first.iter().copied());
    let under_old = first.iter().filter(|seen| seen.access.was == Key::Old);
    let mut words = format!(
        "reencryptSuccesses rose by {}, {} were under the old secret",
        all.moved(),
        under_old.count()
    );
    let left = || first.iter().zip(keys).filter(|(_, key)| **key == Key::Old);
    let is = if left().any(|(seen, _)| seen.access.called.state == Is::Unknown) {
        words.push_str("; a call did not come to its end");
        Is::Unknown
    } else if left().next().is_some() {
        words.push_str(match (all.stuck(), all.lost(), restarted) {
            (0, 0, true) => {
                ": the edge was restarted since the drill began, and does not run with a new secret"
            }
            (0, 0, false) => {
                ": the secret was not changed, or the edge does not run with it; its counters have gone on since begin"
            }
            (0, _, _) => ": neither secret opens the others",
            _ => ": reencryptFailures rose, so that the edge cannot write them back",
        });
        Is::Fail
    } else if !keys.contains(&Key::Moved) {
        words.push_str(match all.moved() {
            0 => ": they were used before where the counters could not be seen",
            _ => ": others fall back as well, so that it cannot be told whose keys moved; check again when it is quieter",
        });
        Is::Unknown
    } else if all.stuck() > 0 {
        words.push_str(
            "; reencryptFailures rose: a key of somebody else's could not be written back",
        );
        Is::Unknown
    } else {
        let before = first
            .iter()
            .zip(keys)
            .filter(|(seen, key)| seen.access.was == Key::Old && **key == Key::Moved)
            .any(|(seen, _)| seen.rose.is_ok_and(|rose| rose.moved() == 0));
        if before {
            words.push_str("; the account's had been moved by a call of its user's");
        }
        Is::Pass
    };
    Criterion::new("reencrypted", is, words)
}

fn decrypt(seen: &[Seen<'_>]) -> Criterion {
    let lost = rises(seen.iter()).lost();
    if lost == 0 {
        return Criterion::new("decrypt", Is::Pass, "decryptFailures stood still");
    }
    let words = format!("decryptFailures rose by {lost}");
    if seen.iter().any(|seen| seen.access.called.state == Is::Fail) {
        let words = format!("{words}: neither secret opens these keys");
        return Criterion::new("decrypt", Is::Fail, words);
    }
    let words = format!(
        "{words}, by calls of others: the drill's own keys open. Whether theirs were lost in this change or \
         before it cannot be told"
    );
    Criterion::new("decrypt", Is::Unknown, words)
}

fn second_access(seen: &[Seen<'_>], quiet: Option<u64>) -> Criterion {
    let later = || seen.iter().filter(|seen| seen.access.round > 0);
    let (is, words) = match quiet {
        None => (Is::Unknown, "there was no second round".to_owned()),
        Some(0) => (Is::Pass, "fallbackDecrypts stood still".to_owned()),
        Some(least) if rises(later()).others == 0 => (
            Is::Fail,
            format!("fallbackDecrypts rose by {least} once more: the keys do not stay moved"),
        ),
        Some(least) => (
            Is::Unknown,
            format!(
                "fallbackDecrypts rose by at least {least} in each further round, with calls of others in \
                 between: check again when it is quieter"
            ),
        ),
    };
    Criterion::new("second_access", is, words)
}

/// Whether anybody still needs the old secret.
pub(super) fn stands_still(before: &Told, after: &Told) -> Criterion {
    let (before, after) = match (before, after) {
        (Ok(before), Ok(after)) => (before, after),
        (Err(why), _) | (_, Err(why)) => return Criterion::new("fallback", Is::Unknown, why),
    };
    if after.restarted_since(before.all()) {
        let words = "the edge was restarted meanwhile; finish again";
        return Criterion::new("fallback", Is::Unknown, words);
    }
    let (was, is) = (before.fallbacks(), after.fallbacks());
    if is == was {
        let words = format!("fallbackDecrypts stands at {is}");
        return Criterion::new("fallback", Is::Pass, words);
    }
    let words = format!(
        "fallbackDecrypts rose by {}: somebody still needs the old secret",
        is - was
    );
    Criterion::new("fallback", Is::Fail, words)
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
#[path = "judge_tests.rs"]
mod tests;
