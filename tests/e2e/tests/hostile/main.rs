//! A service that means harm, on real sockets: whatever it sends, the client stays within stated
//! memory, names the cause, keeps its secrets and its pace, and recovers with all local writes once
//! the service turns good. Each scenario runs in a process of its own.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a panic is a test's verdict"
)]

mod scene;
mod server;

/// Scenarios of a file of their own, each a test that runs alone.
macro_rules! scenarios {
    ($($name:ident)+) => {
        $(#[test]
        fn $name() {
            let path = module_path!();
            let module = path.split_once("::").map_or(path, |(_, module)| module);
            crate::scene::alone(&format!("{module}::{}", stringify!($name)), super::$name);
        })+
    };
}
use scenarios;

mod ai;
mod bodies;
mod data;
mod floors;
mod frames;
mod heads;
mod nested;
mod secrets;
mod stream;
mod tls;
