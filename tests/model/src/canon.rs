//! What makes two states the same: their text, with everything replaced that only says when and by
//! which name something happened.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A state's identity: two independent hashes of its canonical text, so that equality and hash agree.
pub(crate) type Canon = [u64; 2];

/// The identity of this text.
pub(crate) fn of(text: &str) -> Canon {
    [1_u8, 2].map(|salt| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        text.hash(&mut hasher);
        hasher.finish()
    })
}

/// The debug text of an engine and its world. Times become distances to `now`, ids are numbered in the order of
/// their appearance, counters that are only compared become differences. The generator of jitter is left
/// out: states that differ in nothing else are one, and the jitter of the first is the one that is followed.
pub(crate) fn engine_text(text: &str, now: u64) -> String {
    let mut ids = Vec::new();
    let mut need = 0;
    numbers(text, |out, before, digits| {
        let value: u64 = digits.parse().unwrap_or(u64::MAX);
        let _ = if before.ends_with("Timestamp(") {
            // What is over is over, for a floor and for a bucket that is full.
            let spent =
                before.ends_with("floor: Timestamp(") || before.ends_with("full_at: Timestamp(");
            match value {
                u64::MAX => out.write_str("never"),
                _ if value > now => write!(out, "+{}", value - now),
                _ if spent => out.write_str("over"),
                _ if now - value > OLD_MS => out.write_str("old"),
                _ => write!(out, "-{}", now - value),
            }
        } else if before.ends_with("RequestId(") {
            let place = ids.iter().position(|&id| id == value).unwrap_or_else(|| {
                ids.push(value);
                ids.len() - 1
            });
            write!(out, "#{place}")
        } else if ["Rng(", "last_id: ", "version: "]
            .iter()
            .any(|name| before.ends_with(name))
        {
            out.write_str("_")
        } else if before.ends_with(" need: ") {
            need = value;
            out.write_str("_")
        } else if [" proved: ", " asked: (", " proof: Some("]
            .iter()
            .any(|name| before.ends_with(name))
        {
            write!(out, "-{}", need.wrapping_sub(value))
        } else {
            out.write_str(digits)
        };
    })
}

/// The debug text of replicas and their service: operations are numbered in the order of their appearance,
/// and times of day, which the replica reads from the clock, are left out.
pub(crate) fn replica_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut ids: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('"') {
        let (before, quoted) = rest.split_at(at);
        out.push_str(before);
        let body = &quoted[1..];
        let end = body.find('"').unwrap_or(body.len());
        let word = &body[..end];
        if word.len() == UUID_CHARS && word.as_bytes()[8] == b'-' {
            let place = ids.iter().position(|&id| id == word).unwrap_or_else(|| {
                ids.push(word);
                ids.len() - 1
            });
            let _ = write!(out, "#{place}");
        } else {
            out.push_str(word);
        }
        rest = body.get(end + 1..).unwrap_or_default();
    }
    out.push_str(rest);
    numbers(&out, |out, _, digits| {
        out.push_str(if digits.len() >= TIME_OF_DAY_DIGITS {
            "_"
        } else {
            digits
        });
    })
}

/// Rewrites each number that is not part of a word, given what stands before it.
fn numbers(text: &str, mut rewrite: impl FnMut(&mut String, &str, &str)) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    let mut at = 0;
    while at < bytes.len() {
        let word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
        if !bytes[at].is_ascii_digit() || word {
            at += 1;
            continue;
        }
        let end = at
            + bytes[at..]
                .iter()
                .take_while(|b| b.is_ascii_digit())
                .count();
        out.push_str(&text[done..at]);
        rewrite(&mut out, &text[..at], &text[at..end]);
        done = end;
        at = end;
    }
    out.push_str(&text[done..]);
    out
}

/// No rule of the engine looks further back than a minute.
const OLD_MS: u64 = 61_000;
const UUID_CHARS: usize = 36;
const TIME_OF_DAY_DIGITS: usize = 12;
