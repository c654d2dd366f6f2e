//! A service in this process, and `notes` as processes of their own against it.

#![allow(unreachable_pub, reason = "a module of each test, not an interface")]
#![allow(clippy::unwrap_used, reason = "a test that fails")]
#![allow(dead_code, reason = "each test uses its own part of this")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use evenkeel_stack::Stack;
use serde_json::Value;
use tempfile::TempDir;

/// A service and a folder for stores.
pub struct Bench {
    pub stack: Stack,
    pub folder: TempDir,
}

impl Bench {
    pub async fn new() -> Self {
        Self {
            stack: Stack::builder().start().await.unwrap(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `notes` with the store of this name, against the service.
    pub fn command(&self, store: &str, args: &[&str]) -> Command {
        let mut command = notes(&self.path(store), args);
        command.args(["--url", self.stack.edge_url()]);
        command.env("EVENKEEL_TOKEN", "demo-token");
        command
    }

    pub fn run(&self, store: &str, args: &[&str]) -> Ran {
        Ran::of(self.command(store, args).output().unwrap())
    }

    /// Runs it and expects the best; what it printed.
    pub fn ok(&self, store: &str, args: &[&str]) -> Vec<Value> {
        let ran = self.run(store, args);
        assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
        ran.lines
    }

    /// Writes a note and gives back its id.
    pub fn add(&self, store: &str, args: &[&str]) -> String {
        let lines = self.ok(store, &[&["add"], args].concat());
        lines[0]["id"].as_str().unwrap().to_owned()
    }

    /// The note of this id as `list` shows it.
    pub fn note(&self, store: &str, id: &str) -> Option<Value> {
        let notes = self.ok(store, &["list"]);
        notes.into_iter().find(|note| note["id"] == id)
    }
}

/// `notes` with nothing from this machine's environment, writing JSON.
pub fn notes(store: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_notes"));
    command.args(args).arg("--json").arg("--store").arg(store);
    for name in ["EVENKEEL_EDGE", "EVENKEEL_TOKEN", "RUST_LOG"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// What came of a run.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub lines: Vec<Value>,
    pub errors: String,
}

impl Ran {
    pub fn of(output: Output) -> Self {
        let text = String::from_utf8(output.stdout).unwrap();
        let line =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        Self {
            code: output.status.code().unwrap_or(-1),
            lines: text.lines().map(line).collect(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The last line's verdict.
    pub fn verdict(&self) -> &str {
        let last = self.lines.last().map(|line| &line["verdict"]);
        last.and_then(Value::as_str).unwrap_or_default()
    }

    /// The name of the error.
    pub fn error(&self) -> String {
        let last = self.errors.lines().last().unwrap_or_default();
        let error: Value = serde_json::from_str(last).unwrap_or_default();
        error["code"].as_str().unwrap_or_default().to_owned()
    }
}
