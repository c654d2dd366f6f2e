//! The engine in scenarios, one behaviour each, in virtual time.

mod fallback;
mod gate;
mod hints;
mod property;
mod pull;
mod start;
mod stream;
mod world;
