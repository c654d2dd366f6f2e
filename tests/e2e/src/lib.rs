//! What the scenarios share: real processes that end with the test, and what a client said.

pub mod crew;
pub mod netns;
pub mod process;
pub mod proxy;
pub mod scenario;
pub mod servers;
pub mod service;
pub mod soak;
mod stack_process;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use evenkeel::{Status, SyncClient};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

pub use stack_process::StackProcess;

/// Says that this machine does not allow a part of a test, and why; past the harness, which keeps to itself
/// what a test prints that passes.
pub fn left_out(part: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "left out: {part} ({why})");
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

/// A part of the reference service as a process of its own, on a port that outlives it.
#[derive(Debug)]
pub struct PartProcess {
    child: Child,
    role: &'static str,
    port: u16,
    args: Vec<String>,
    /// What it keeps its records in, where it has any.
    data: Option<PathBuf>,
}

impl PartProcess {
    /// Starts an `edge`, an `origin` or a `provider` on a port that the system chooses, with these
    /// arguments of `stack` besides.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start(role: &'static str, args: &[&str]) -> Self {
        let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let Some((child, port)) = launch(role, 0, &args).await else {
            panic!("the {role} did not start")
        };
        Self {
            child,
            role,
            port,
            args,
            data: None,
        }
    }

    /// An origin with its records in a fresh folder.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn origin_with_records(name: &str) -> Self {
        let folder = format!("evenkeel-{name}-{}", std::process::id());
        let data = std::env::temp_dir().join(folder);
        let shown = data.display().to_string();
        let mut origin = Self::start("origin", &["--data", &shown]).await;
        origin.data = Some(data);
        origin
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// SIGKILL.
    pub async fn kill(&mut self) {
        let _ = self.child.kill().await;
    }

    /// Starts it again on the same port and records; it serves when this returns.
    ///
    /// # Panics
    ///
    /// When that does not succeed within 20 s.
    pub async fn restart(&mut self) {
        // Another connection of this machine may hold the port for a moment.
        for _ in 0..200 {
            if let Some((child, _)) = launch(self.role, self.port, &self.args).await {
                self.child = child;
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("the {} did not come back on port {}", self.role, self.port);
    }
}

impl Drop for PartProcess {
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        if let Some(data) = &self.data {
            let _ = std::fs::remove_dir_all(data);
        }
    }
}

/// The process and its port once it has said `ready`.
async fn launch(role: &str, port: u16, args: &[String]) -> Option<(Child, u16)> {
    let mut child = Command::new(recovery_check())
        .args(["stack", "--role", role, &format!("--{role}-port")])
        .arg(port.to_string())
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .ok()?;
    let mut lines = BufReader::new(child.stdout.take()?).lines();
    let mut port = None;
    while let Some(line) = timeout(READY_WITHIN, lines.next_line()).await.ok()?.ok()? {
        if let Some(url) = line.strip_prefix(role) {
            port = url.rsplit(':').next().and_then(|text| text.parse().ok());
        }
        if line == "ready" {
            return Some((child, port?));
        }
    }
    None
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

const READY_WITHIN: Duration = Duration::from_secs(20);
