//! The reference service, or a part of it, as a process of its own.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::recovery_check;

/// `recovery-check stack` with some arguments, until it is dropped.
#[derive(Debug)]
pub struct StackProcess {
    child: Child,
    said: BTreeMap<String, String>,
}

impl StackProcess {
    /// Starts it; it serves when this returns.
    ///
    /// # Panics
    ///
    /// When it does not within 20 s.
    pub async fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(recovery_check())
            .arg("stack")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("stack {arguments:?}: {error}"));
        let mut said = BTreeMap::new();
        let Some(out) = child.stdout.take() else {
            panic!("its output is piped")
        };
        let mut lines = BufReader::new(out).lines();
        let starting = async {
            while let Ok(Some(line)) = lines.next_line().await {
                match line.split_once(' ') {
                    Some((what, value)) => said.insert(what.to_owned(), value.to_owned()),
                    None => return line == "ready",
                };
            }
            false
        };
        let started = timeout(READY_WITHIN, starting).await;
        assert_eq!(started, Ok(true), "stack {arguments:?} did not start");
        Self { child, said }
    }

    /// What it said of a part: the URL of `edge`, `origin`, `provider` or `control`, the path of `ca`.
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

    /// Its process, for signals.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// SIGKILL.
    pub async fn kill(&mut self) {
        let _ = self.child.kill().await;
    }

    /// Asks its control API; the answer's body.
    ///
    /// # Panics
    ///
    /// When it does not answer 200.
    pub async fn control(&self, method: &str, path: &str, body: &str) -> String {
        let control = self.said("control");
        let address = control.trim_start_matches("http://");
        let asking = async {
            let mut socket = TcpStream::connect(address).await?;
            let head =
                format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
            let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
            socket.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            socket.read_to_string(&mut answer).await.map(|_| answer)
        };
        match timeout(READY_WITHIN, asking).await {
            Ok(Ok(answer)) if answer.starts_with("HTTP/1.1 200") => {
                let body = answer
                    .split_once("\r\n\r\n")
                    .map(|(_, body)| body.to_owned());
                body.unwrap_or_default()
            }
            other => panic!("{method} {path}: {other:?}"),
        }
    }
}

const READY_WITHIN: Duration = Duration::from_secs(20);
