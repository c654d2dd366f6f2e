//! What the sync service's wire means, and what to do next.
//!
//! This crate does no I/O. It has no clock, no sockets, no files and no randomness of its own: time
//! and a seed come in as arguments, requests go out as values. So every run can be replayed, and a
//! million engines fit in one simulation.

pub mod cause;
pub mod engine;
pub mod failure;
pub mod merge;
pub mod policy;
pub mod retry;
pub mod sse;
pub mod status;
pub mod time;
pub mod wire;

pub use cause::{Cause, Layer};
pub use engine::Engine;
pub use failure::{Failure, Request};
pub use status::{Ask, Lifecycle, Link, OutboxLevel, SyncState, SyncStatus};
pub use time::Timestamp;
