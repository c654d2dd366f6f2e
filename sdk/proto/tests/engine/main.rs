//! The engine in scenarios, one behaviour each, in virtual time.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod budget;
mod fallback;
mod fleet;
mod gate;
mod hints;
mod property;
mod pull;
mod replica;
mod start;
mod stream;
mod told;
mod world;
