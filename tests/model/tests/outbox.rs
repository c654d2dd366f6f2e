//! Outboxes of several clients against one service, to a stated depth. `EVENKEEL_DEPTH=n` goes further.

mod report;

use evenkeel_model::outbox::{Limits, OutboxModel};
use report::{depth, run};

fn check(name: &str, records: Vec<&'static str>, depth: u32, limits: Limits, states_min: usize) {
    let model = OutboxModel::new(records, depth, limits);
    run(name, depth, states_min, model, |model| {
        let rounds = model.longest();
        (
            format!("agreement takes {rounds} rounds at most"),
            model.stuck(),
        )
    });
}

/// Batches of two records, holes in answers, halving, a snapshot.
#[test]
fn two_clients_with_two_records() {
    let limits = Limits {
        writes: vec![2, 1],
        faults: 2,
        forgets: 1,
        snapshots: 1,
    };
    check(
        "two clients with two records",
        vec!["a", "b"],
        depth(8),
        limits,
        53_000,
    );
}

/// Everybody writes to the same record.
#[test]
fn three_clients_with_one_record() {
    let limits = Limits {
        writes: vec![2, 1, 1],
        faults: 2,
        forgets: 1,
        snapshots: 0,
    };
    check(
        "three clients with one record",
        vec!["a"],
        depth(9),
        limits,
        60_000,
    );
}
