//! Runs cases, and makes a failing one small.

use std::cell::Cell;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, Instant};

use evenkeel_fuzz::{TARGETS, Target, seeds};

use crate::make;

pub(crate) fn all(name: &str) {
    let target = TARGETS
        .into_iter()
        .find(|target| target.name == name)
        .unwrap();
    if let Ok(file) = std::env::var("EVENKEEL_FUZZ_FILE") {
        return (target.run)(&std::fs::read(file).unwrap());
    }
    for (file, case) in seeds::regressions(name) {
        eprintln!("{file}");
        check(&target, &case, "a regression");
    }
    let corpus = seeds::seeds(name);
    for case in &corpus {
        check(&target, case, "a test vector");
    }
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().unwrap())
    };
    let first = number("EVENKEEL_SEED");
    let cases = number("EVENKEEL_RUNS").unwrap_or(match first {
        Some(_) => 1,
        None => u64::from(target.cases),
    });
    let first = first.unwrap_or(FIRST_SEED);
    let begun = Instant::now();
    for seed in first..first.saturating_add(cases) {
        let case = make::case(&target, &corpus, seed);
        check(&target, &case, &format!("EVENKEEL_SEED={seed}"));
    }
    eprintln!(
        "{name}: {cases} cases from seed {first} on in {:.1?}",
        begun.elapsed()
    );
}

fn check(target: &Target, case: &[u8], origin: &str) {
    let begun = Instant::now();
    let Err(message) = outcome(target, case) else {
        let took = begun.elapsed();
        assert!(
            took < LONGEST_CASE,
            "{}, {origin}: took {took:?}: {}",
            target.name,
            hex(case)
        );
        return;
    };
    let small = shrunk(target, case);
    let file = kept(target, &small);
    let name = target.name;
    panic!(
        "{name}, {origin}: {message}\nshrunk to {} bytes, {}\n  {}\nreplay: EVENKEEL_FUZZ_FILE={} cargo test -p evenkeel-fuzz {name}",
        small.len(),
        outcome(target, &small).err().unwrap_or_default(),
        hex(&small),
        file.display(),
    );
}

/// What a broken promise says.
fn outcome(target: &Target, case: &[u8]) -> Result<(), String> {
    quiet_panics();
    QUIET.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(case)));
    QUIET.set(false);
    outcome.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default()
    })
}

/// As small as leaving pieces out makes it, within some hundred tries.
fn shrunk(target: &Target, case: &[u8]) -> Vec<u8> {
    let mut small = case.to_vec();
    let mut piece = small.len() / 2;
    let mut tries = 0;
    while piece > 0 && tries < TRIES_MAX {
        let mut at = 0;
        while at < small.len() && tries < TRIES_MAX {
            let mut smaller = small.clone();
            smaller.drain(at..(at + piece).min(small.len()));
            tries += 1;
            if outcome(target, &smaller).is_err() {
                small = smaller;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    small
}

fn kept(target: &Target, case: &[u8]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
    std::fs::create_dir_all(&folder).unwrap();
    let sum = case.iter().fold(0_u64, |sum, b| {
        sum.wrapping_mul(31).wrapping_add(u64::from(*b))
    });
    let file = folder.join(format!("{}-{sum:016x}", target.name));
    std::fs::write(&file, case).unwrap();
    file
}

fn hex(case: &[u8]) -> String {
    case.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A case that fails is told once, not for every try to make it smaller.
fn quiet_panics() {
    static SET: Once = Once::new();
    SET.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                loud(panic);
            }
        }));
    });
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

const FIRST_SEED: u64 = 1;
const TRIES_MAX: u32 = 2_000;
const LONGEST_CASE: Duration = Duration::from_secs(20);
