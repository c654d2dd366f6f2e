//! recovery-check.
fn main() {}
