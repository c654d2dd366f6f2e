//! The engine against every service, to a stated depth. `EVENKEEL_DEPTH=n` goes further, `EVENKEEL_SEED=n`
//! with other jitter.

mod report;

use evenkeel_model::engine::{Bounds, EngineModel, Start};
use report::{depth, run, setting};

const STARTS: [Start; 4] = [Start::Fresh, Start::Synced, Start::Outage, Start::Polling];

fn check(name: &str, depth: u32, bounds: Bounds, states_min: usize) {
    let mut model = EngineModel::new(STARTS.to_vec(), depth, bounds);
    model.seed = setting("EVENKEEL_SEED", 0);
    run(name, depth, states_min, model, |model| {
        let longest = model.longest_ms();
        let way = format!("the longest way back to synced takes {longest} ms");
        (way, model.stuck())
    });
}

/// Two changes of the service among eleven modes, everything that can be lost, broken or done once.
#[test]
fn all_that_can_happen() {
    let bounds = Bounds {
        modes: 2,
        losses: 1,
        changes: 1,
        writes: 1,
        app: 1,
        breaks: 1,
    };
    check("all that can happen", depth(5), bounds, 83_000);
}

/// One change of the service, and what follows from it, further on.
#[test]
fn one_trouble_and_what_follows() {
    let bounds = Bounds {
        modes: 1,
        losses: 1,
        changes: 0,
        writes: 1,
        app: 0,
        breaks: 1,
    };
    check("one trouble and what follows", depth(8), bounds, 110_000);
}
