//! What the scenarios share: real processes that end with the test, and what a client said.

pub mod crew;
pub mod netns;
pub mod process;
pub mod proxy;
pub mod scenario;
pub mod servers;
pub mod service;
pub mod soak;

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use evenkeel::{Status, SyncClient};
use tokio::time::timeout;

pub use process::StackProcess;

/// Says that this machine does not allow a part of a test, and why; past the harness, which keeps to itself
/// what a test prints that passes.
pub fn left_out(part: &str, why: &str) {
    say(&format!("left out: {part} ({why})"));
}

/// As [`left_out`], for what can be installed.
///
/// # Panics
///
/// With `CI=true`: there nothing may be left out that could be there.
pub fn missing(part: &str, why: &str) {
    left_out(part, why);
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!ci, "CI leaves nothing out: {part}: {why}");
}

/// Writes a line past the harness.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A program of this workspace by the name of its package and binary, built if it is not there yet.
///
/// # Panics
///
/// When it does not build.
#[must_use]
pub fn program(package: &str, binary: &str) -> PathBuf {
    static BUILT: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if !built.iter().any(|name| name == package) {
        let made = std::process::Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package", package])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(
            made.is_ok_and(|status| status.success()),
            "{package} does not build"
        );
        built.push(package.to_owned());
    }
    // This test runs as <target>/debug/deps/<name>.
    let mut path = std::env::current_exe().unwrap_or_default();
    path.pop();
    path.pop();
    path.join(binary)
}

/// The command-line tool.
#[must_use]
pub fn recovery_check() -> PathBuf {
    program("recovery-check", "recovery-check")
}

/// Every status of a client, with the time at which it came.
#[derive(Clone, Debug)]
pub struct Diary(Arc<Mutex<Vec<(Instant, Status)>>>);

impl Diary {
    /// Begins to write.
    #[must_use]
    pub fn of(client: &SyncClient) -> Self {
        let diary = Self(Arc::default());
        let (pages, mut statuses) = (diary.clone(), client.status_changes());
        tokio::spawn(async move {
            while let Some(status) = statuses.next().await {
                let mut pages = pages.0.lock().unwrap_or_else(PoisonError::into_inner);
                pages.push((Instant::now(), status));
            }
        });
        diary
    }

    /// What was written so far.
    #[must_use]
    pub fn pages(&self) -> Vec<(Instant, Status)> {
        let pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pages.clone()
    }
}

/// Waits until `there` says so, looking at every status; how long it took.
///
/// # Panics
///
/// When it does not come within `bound`; the message names `what` and the last status.
pub async fn reach(
    client: &SyncClient,
    what: &str,
    bound: Duration,
    there: impl Fn(&Status) -> bool,
) -> Duration {
    let begun = Instant::now();
    let mut statuses = client.status_changes();
    let found = timeout(bound, async {
        while let Some(status) = statuses.next().await {
            if there(&status) {
                return;
            }
        }
    });
    assert!(
        found.await.is_ok(),
        "{what}: not within {bound:?}: {:?}",
        client.status()
    );
    begun.elapsed()
}
