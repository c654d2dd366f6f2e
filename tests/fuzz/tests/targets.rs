//! Each target with a fixed number of cases: regressions, test vectors, what becomes of those by
//! mutation, and random sequences of what the target's input is made of.
//!
//! A case comes from its own seed alone. A failing one is shrunk, written to a file, and replays with
//! `EVENKEEL_FUZZ_FILE=…` or `EVENKEEL_SEED=…`; `EVENKEEL_RUNS=…` makes more of them.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a panic is a test's verdict"
)]

mod make;
mod run;

use evenkeel_fuzz::TARGETS;

macro_rules! targets {
    ($($name:ident)+) => {
        $(#[test]
        fn $name() {
            run::all(stringify!($name));
        })+

        #[test]
        fn no_target_is_forgotten() {
            let here = [$(stringify!($name)),+];
            assert_eq!(here, TARGETS.map(|target| target.name));
        }
    };
}

targets! { decoder failure retry_after wire list cookie merge engine }
