//! Makes cases: the same seed makes the same case.

use evenkeel_fuzz::Target;
use fastrand::Rng;

pub(crate) fn case(target: &Target, seeds: &[Vec<u8>], seed: u64) -> Vec<u8> {
    let mut rng = Rng::with_seed(seed);
    let rng = &mut rng;
    let mut case = if rng.u8(0..4) == 0 {
        out_of_words(rng, target)
    } else {
        rng.choice(seeds).cloned().unwrap_or_default()
    };
    for _ in 0..rng.u32(0..8) {
        mutate(rng, target, seeds, &mut case);
    }
    case.truncate(target.bytes_max);
    case
}

/// A few bytes that choose, then words and bytes.
fn out_of_words(rng: &mut Rng, target: &Target) -> Vec<u8> {
    let mut case: Vec<u8> = (0..rng.usize(0..8)).map(|_| rng.u8(..)).collect();
    let end = rng.usize(0..target.bytes_max);
    while case.len() < end {
        match rng.choice(target.words) {
            Some(word) if rng.u8(0..4) > 0 => case.extend_from_slice(word.as_bytes()),
            _ => case.push(rng.u8(..)),
        }
    }
    case
}

fn mutate(rng: &mut Rng, target: &Target, seeds: &[Vec<u8>], case: &mut Vec<u8>) {
    let at = rng.usize(0..=case.len());
    let span = at..(at + rng.usize(0..24)).min(case.len());
    match rng.u8(0..8) {
        0 if at < case.len() => case[at] ^= 1 << rng.u8(0..8),
        1 if at < case.len() => case[at] = rng.u8(..),
        2 => case.insert(at, rng.u8(..)),
        3 => drop(case.drain(span)),
        4 => {
            let again = case[span].to_vec();
            for _ in 0..rng.u8(1..5) {
                case.splice(at..at, again.iter().copied());
            }
        }
        5 => {
            let word = rng.choice(target.words).copied().unwrap_or("\0\u{ff}\0");
            let replaced = if rng.bool() { at..at } else { span };
            case.splice(replaced, word.bytes());
        }
        6 => {
            let other = rng.choice(seeds).cloned().unwrap_or_default();
            let from = rng.usize(0..=other.len());
            case.truncate(at);
            case.extend_from_slice(&other[from..]);
        }
        _ => {
            let more = rng.usize(0..16);
            case.extend((0..more).map(|_| rng.u8(..)));
        }
    }
    case.truncate(4 * target.bytes_max);
}
