//! What the tests of the commands share: real processes that end with the test.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test uses a part; a panic is a test's verdict"
)]

pub mod elsewhere;
pub mod hostile;
pub mod outages;
pub mod rotation;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_recovery-check"));
    command.args(args);
    for name in [
        "EVENKEEL_EDGE",
        "EVENKEEL_ORIGIN",
        "EVENKEEL_TOKEN",
        "EVENKEEL_AI_KEY",
        "RUST_LOG",
    ] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

pub fn run(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

/// A command about the service at these URLs, as its user, answered in JSON.
pub fn ask(urls: &[(String, String)], args: &[&str]) -> Output {
    command(args)
        .args(["--format", "json"])
        .args(["--edge", url(urls, "edge"), "--origin", url(urls, "origin")])
        .env("EVENKEEL_TOKEN", "demo-token")
        .output()
        .unwrap()
}

/// `verify` with a short window, up to this deadline.
pub fn ask_verify(urls: &[(String, String)], heartbeat_within: &str, deadline: &str) -> Output {
    let window = ["verify", "--window", "1s", "--interval", "200ms"];
    let bounds = [
        "--heartbeat-within",
        heartbeat_within,
        "--deadline",
        deadline,
    ];
    ask(urls, &[&window[..], &bounds].concat())
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}")))
        .collect()
}

/// A process of ours that ends with the test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `stack` with these arguments, and the URLs it printed before `ready`.
pub fn stack(args: &[&str]) -> (Running, Vec<(String, String)>) {
    let mut child = command(&[&["stack"], args].concat())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut urls = Vec::new();
    let stdout = child.stdout.take().unwrap();
    let running = Running(child);
    for line in BufReader::new(stdout).lines() {
        let line = line.unwrap();
        if line == "ready" {
            return (running, urls);
        }
        let (part, url) = line.split_once(' ').unwrap();
        urls.push((part.to_owned(), url.to_owned()));
    }
    panic!("the stack ended before it was ready");
}

pub fn url<'a>(urls: &'a [(String, String)], part: &str) -> &'a str {
    &urls.iter().find(|(name, _)| name == part).unwrap().1
}

pub fn wait(child: &mut Child, bound: Duration) -> Option<i32> {
    let end = Instant::now() + bound;
    while Instant::now() < end {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

pub fn control(base: &str, method: &str, path: &str, body: &str) {
    let answer = exchange(base, method, path, body);
    assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
}

pub fn get(base: &str, path: &str) -> Value {
    let answer = exchange(base, "GET", path, "");
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    serde_json::from_str(body).unwrap_or_else(|e| panic!("{answer}: {e}"))
}

/// One request over a socket: more than that a test of exit codes does not need.
pub fn exchange(base: &str, method: &str, path: &str, body: &str) -> String {
    use std::io::Write;
    let host = base.strip_prefix("http://").unwrap();
    let mut socket = std::net::TcpStream::connect(host).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    write!(
        socket,
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer demo-token\r\n\
         x-device-id: 0b51dbd4-8c3b-4f0e-9d5c-2f0f7b1f4a11\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

/// Runs it to its end, and says how much memory it had at most, in kB (0 where the system does not tell).
pub fn run_measured(command: &mut Command) -> (Output, u64) {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let child = child.unwrap();
    let status = format!("/proc/{}/status", child.id());
    let ended = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let watching = {
        let ended = std::sync::Arc::clone(&ended);
        std::thread::spawn(move || {
            let mut peak = 0;
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                let text = std::fs::read_to_string(&status).unwrap_or_default();
                let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
                let kb = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
                peak = peak.max(kb.unwrap_or(0));
                std::thread::sleep(Duration::from_millis(20));
            }
            peak
        })
    };
    let output = child.wait_with_output().unwrap();
    ended.store(true, std::sync::atomic::Ordering::Relaxed);
    (output, watching.join().unwrap())
}

/// Each of these, so many at a time. A panic in one is told when all have ended.
pub fn in_turns<T: Send + 'static>(all: Vec<T>, at_once: usize, each: fn(T)) {
    let left = std::sync::Arc::new(std::sync::Mutex::new(all));
    let workers: Vec<_> = (0..at_once)
        .map(|_| {
            let left = std::sync::Arc::clone(&left);
            std::thread::spawn(move || {
                loop {
                    let next = left.lock().unwrap().pop();
                    match next {
                        Some(next) => each(next),
                        None => return,
                    }
                }
            })
        })
        .collect();
    let ended: Vec<_> = workers
        .into_iter()
        .map(std::thread::JoinHandle::join)
        .collect();
    assert!(ended.iter().all(Result::is_ok), "see above");
}
