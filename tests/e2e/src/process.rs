//! Processes that end with the test that started them.

use std::collections::BTreeMap;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::recovery_check;

/// The reference service, or a part of it, as a process of its own, until it is dropped.
#[derive(Debug)]
pub struct StackProcess {
    child: Child,
    args: Vec<String>,
    said: BTreeMap<String, String>,
}

impl StackProcess {
    /// Starts it with these arguments of `stack`, on ports that the system chooses; it serves when this
    /// returns.
    ///
    /// # Panics
    ///
    /// When it does not start within 20 s.
    pub async fn start(args: &[&str]) -> Self {
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        match launch(&args, &BTreeMap::new()).await {
            Ok((child, said)) => Self { child, args, said },
            Err(why) => panic!("{args:?} did not start: {why}"),
        }
    }

    /// What it said of a part: the URL of `edge`, `origin`, `provider` or `control`, the path of `ca`; the same
    /// after a restart.
    ///
    /// # Panics
    ///
    /// When it said nothing of it.
    #[must_use]
    pub fn said(&self, what: &str) -> &str {
        let said = self.said.get(what);
        said.unwrap_or_else(|| panic!("it said nothing of {what}: {:?}", self.said))
    }

    /// The root certificate that its clients are to trust.
    ///
    /// # Panics
    ///
    /// When it has none.
    #[must_use]
    pub fn root(&self) -> Vec<u8> {
        let path = self.said("ca");
        std::fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Asks its control API; the answer's body.
    ///
    /// # Panics
    ///
    /// When it does not answer 200 within 20 s.
    pub async fn control(&self, method: &str, path: &str, body: &str) -> String {
        let (status, answer) = ask(self.said("control"), method, path, body).await;
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer
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
            match launch(args, &self.said).await {
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

/// Sends one request to a plain URL, without the SDK and what it is built on; the answer's status and body.
///
/// # Panics
///
/// When no answer comes within 20 s.
pub async fn ask(url: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let address = url.trim_start_matches("http://");
    let asking = async {
        let mut socket = TcpStream::connect(address).await?;
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        socket.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = match timeout(READY_WITHIN, asking).await {
        Ok(Ok(answer)) => answer,
        other => panic!("{method} {url}{path}: {other:?}"),
    };
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.unwrap_or(0), body.to_owned())
}

/// The process and where its parts listen, once it has said `ready`; on the ports of `known` ones.
async fn launch(
    args: &[String],
    known: &BTreeMap<String, String>,
) -> Result<(Child, BTreeMap<String, String>), String> {
    let mut command = Command::new(recovery_check());
    command.arg("stack").args(args);
    for (part, url) in known.iter().filter(|(part, _)| *part != "ca") {
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
    let mut said = BTreeMap::new();
    loop {
        let line = timeout(READY_WITHIN, lines.next_line()).await;
        match line.map_err(|_| "it does not say that it is ready")? {
            Ok(Some(line)) if line == "ready" => return Ok((child, said)),
            Ok(Some(line)) => {
                if let Some((part, url)) = line.split_once(' ') {
                    said.insert(part.to_owned(), url.to_owned());
                }
            }
            _ => {
                let ended = child.wait_with_output().await;
                let complaints = ended.map(|ended| ended.stderr).unwrap_or_default();
                return Err(String::from_utf8_lossy(&complaints).into_owned());
            }
        }
    }
}

const READY_WITHIN: Duration = Duration::from_secs(20);
