//! A model check: from a start, every order of events to a stated depth, and after each step the
//! promises. Nothing of the SDK is rewritten here: the states hold the real [`Engine`] and the real
//! [`MemoryReplica`], and only the service around them is abstract.
//!
//! [`Engine`]: evenkeel_proto::Engine
//! [`MemoryReplica`]: evenkeel::MemoryReplica

mod canon;
pub mod engine;
pub mod outbox;

use std::fmt;

/// The promises that were broken on the way to a state, by name.
#[derive(Clone, Default)]
struct Broken(Vec<(&'static str, String)>);

impl Broken {
    fn note(&mut self, promise: &'static str, what: impl fmt::Display) {
        self.0.push((promise, what.to_string()));
    }

    fn holds(&self, promise: &'static str) -> bool {
        self.0.iter().all(|&(broken, _)| broken != promise)
    }
}
