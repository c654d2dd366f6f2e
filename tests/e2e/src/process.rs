//! Processes that end with the test that started them.

use std::collections::BTreeMap;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::recovery_check;

/// `recovery-check stack` with some of its parts, in a process of its own.
#[derive(Debug)]
pub struct Part {
    child: Child,
    args: Vec<String>,
    urls: BTreeMap<String, String>,
}

impl Part {
    /// Starts it on ports that the system chooses; it serves when this returns.
    ///
    /// # Panics
    ///
    /// When it does not start within 20 s.
    pub async fn start(args: Vec<String>) -> Self {
        match launch(&args, &BTreeMap::new()).await {
            Ok((child, urls)) => Self { child, args, urls },
            Err(why) => panic!("{args:?} did not start: {why}"),
        }
    }

    /// Where `edge`, `origin`, `provider` or `control` of it listens; the same after a restart.
    ///
    /// # Panics
    ///
    /// When it has no such part.
    #[must_use]
    pub fn url(&self, part: &str) -> &str {
        let url = self.urls.get(part);
        url.unwrap_or_else(|| panic!("no {part} in {:?}", self.urls))
    }

    /// Its process id; `None` once it has ended.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends a signal, `STOP` and `CONT` among them.
    pub fn signal(&self, signal: Signal) {
        send(&self.child, signal);
    }

    /// SIGKILL; it is gone when this returns.
    pub async fn kill(&mut self) {
        let _ = self.child.kill().await;
    }

    /// SIGTERM; how it ended.
    ///
    /// # Panics
    ///
    /// When it has not ended within 20 s.
    pub async fn end(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        match timeout(READY_WITHIN, self.child.wait()).await {
            Ok(Ok(status)) => status,
            other => panic!("{:?} does not end: {other:?}", self.args),
        }
    }

    /// Starts it again where it was.
    ///
    /// # Panics
    ///
    /// When that does not succeed within 20 s.
    pub async fn restart(&mut self) {
        let args = self.args.clone();
        self.restart_as(&args).await;
    }

    /// Starts it again where it was, with other arguments.
    ///
    /// # Panics
    ///
    /// As [`restart`](Self::restart).
    pub async fn restart_as(&mut self, args: &[String]) {
        let mut why = String::new();
        // Another connection of this machine may hold a port for a moment.
        for _ in 0..100 {
            match launch(args, &self.urls).await {
                Ok((child, _)) => {
                    self.child = child;
                    return;
                }
                Err(error) => why = error,
            }
            sleep(Duration::from_millis(200)).await;
        }
        panic!("{args:?} did not come back: {why}");
    }

    /// What it was started with.
    #[must_use]
    pub fn args(&self) -> &[String] {
        &self.args
    }
}

/// Sends a signal to a process that has not been waited for.
pub fn send(child: &Child, signal: Signal) {
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(pid) = id.and_then(Pid::from_raw) {
        // One that has just ended by itself needs no signal.
        let _ = kill_process(pid, signal);
    }
}

/// The process and where its parts listen, once it has said `ready`; on the ports of `known` ones.
async fn launch(
    args: &[String],
    known: &BTreeMap<String, String>,
) -> Result<(Child, BTreeMap<String, String>), String> {
    let mut command = Command::new(recovery_check());
    command.arg("stack").args(args);
    for (part, url) in known {
        if let Some(port) = url.rsplit(':').next() {
            command.args([format!("--{part}-port"), port.to_owned()]);
        }
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env("RUST_LOG", "off")
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| error.to_string())?;
    let stdout = child.stdout.take().ok_or("no output")?;
    let mut lines = BufReader::new(stdout).lines();
    let mut urls = BTreeMap::new();
    loop {
        let line = timeout(READY_WITHIN, lines.next_line()).await;
        match line.map_err(|_| "it does not say that it is ready")? {
            Ok(Some(line)) if line == "ready" => return Ok((child, urls)),
            Ok(Some(line)) => {
                if let Some((part, url)) = line.split_once(' ') {
                    urls.insert(part.to_owned(), url.to_owned());
                }
            }
            _ => {
                let ended = child.wait_with_output().await;
                let said = ended.map(|ended| ended.stderr).unwrap_or_default();
                return Err(String::from_utf8_lossy(&said).into_owned());
            }
        }
    }
}

const READY_WITHIN: Duration = Duration::from_secs(20);
