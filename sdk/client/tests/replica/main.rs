//! Replicas: what holds for each of them, and what the durable one holds beyond that.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a panic is a test's verdict"
)]

mod asked;
mod bench;
mod bootstrap;
mod client;
#[path = "../common/mod.rs"]
mod common;
mod conflicts;
mod conformance;
mod crash;
mod cuts;
mod files;
mod full;
mod lease;
mod observe;
mod old;
mod outbox;
mod processes;
mod recover;
mod room;
mod suspended;
mod verdicts;
mod views;
