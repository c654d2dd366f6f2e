//! Runs a model and says what came of it.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a part of each test"
)]

use std::fmt::Debug;
use std::hash::Hash;
use std::time::Instant;

use stateright::{Checker, Expectation, HasDiscoveries, Model};

/// A number from the environment, for a run that is deeper than the tests.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

pub(crate) fn depth(default: u32) -> u32 {
    u32::try_from(setting("EVENKEEL_DEPTH", default.into())).unwrap()
}

/// Checks the whole model, in one thread: then breadth comes first, and the counts are the same each time. `more`
/// says what else is to be known, and where a way that should have led to an end has stopped.
pub(crate) fn run<M>(
    name: &str,
    depth: u32,
    states_min: usize,
    model: M,
    more: impl Fn(&M) -> (String, Option<String>),
) where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static,
    M::Action: Clone + Debug + PartialEq + Send + Sync + 'static,
{
    let begun = Instant::now();
    let checker = model.checker().finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.spawn_bfs().join();
    let states = checker.unique_state_count();
    let (seen, stuck) = more(checker.model());
    println!(
        "{name}: depth {depth}, {states} unique states, {} actions, {:.1} s; {seen}",
        checker.state_count(),
        begun.elapsed().as_secs_f64(),
    );
    let properties = checker.model().properties();
    let mut broken = checker.discoveries();
    broken.retain(|promise, _| {
        let property = properties.iter().find(|property| property.name == *promise);
        !matches!(property.unwrap().expectation, Expectation::Sometimes)
    });
    for (promise, path) in &broken {
        let last = path.last_state().clone();
        let actions = path.clone().into_actions();
        println!("not kept: {promise}\n  by: {actions:?}\n  at: {last:?}");
    }
    if let Some(stuck) = stuck {
        println!("{stuck}");
    }
    assert!(broken.is_empty(), "not kept: {:?}", broken.keys());
    checker.assert_properties();
    assert!(states >= states_min, "no more than {states} states");
}
