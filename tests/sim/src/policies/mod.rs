//! The clients that are let loose on the service.

mod evenkeel;
mod rival;

pub use evenkeel::Evenkeel;
pub use rival::{Fixed, FullJitter, HalfJitter, Rival, Tokens, Web};
