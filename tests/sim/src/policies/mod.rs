//! The clients that are let loose on the service.

mod evenkeel;
mod rival;

pub use evenkeel::Evenkeel;
pub use rival::{Fixed, FullJitter, HalfJitter, Rival, Tokens, Web};

use crate::figures::Figures;
use crate::scenario::Scenario;
use crate::world::{Size, run};

/// A kind of client, and how its fleet lives through a scenario.
#[derive(Clone, Copy)]
pub struct Policy {
    /// Its name in the tables.
    pub name: &'static str,
    /// How it waits, in one line.
    pub what: &'static str,
    /// Whether it listens to what the service asks of it.
    pub listens: bool,
    /// One run.
    pub run: fn(&Scenario, Size, u64) -> Figures,
}

/// Every policy, ours first.
pub const ALL: [Policy; 6] = [
    Policy {
        name: "evenkeel",
        what: "the engine that ships, with its default settings",
        listens: true,
        run: run::<Evenkeel>,
    },
    Policy {
        name: "web",
        what: "the service's own web client: loops for stream, data and an interval of 15/30 s beside each other; 1 s × 2 up to 30 s plus 0-250 ms; `Retry-After` cut to 1-30 s",
        listens: true,
        run: run::<Rival<Web>>,
    },
    Policy {
        name: "half-jitter",
        what: "1 s × 2 up to 30 s, of which 50-100 %; forgiven after 60 s; no `Retry-After` (the LaunchDarkly kind)",
        listens: false,
        run: run::<Rival<HalfJitter>>,
    },
    Policy {
        name: "full-jitter",
        what: "0 to 1 s × 2 up to 32 s; `Retry-After` as a floor, to the second (the Electric kind)",
        listens: true,
        run: run::<Rival<FullJitter>>,
    },
    Policy {
        name: "fixed",
        what: "5 s (the PowerSync kind)",
        listens: false,
        run: run::<Rival<Fixed>>,
    },
    Policy {
        name: "tokens",
        what: "0 to 1 s × 2 up to 20 s; ten retries in a row, one more for each answer and each 30 s (the kind that AWS describes)",
        listens: false,
        run: run::<Rival<Tokens>>,
    },
];
