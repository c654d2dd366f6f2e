//! A service whose secret is changed, and a drill that watches.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::{Running, command, control, get, stack, stderr, url};

pub const KEY: &str = "key-of-the-drill-7f3a9";
pub const OLD: &str = "the first secret, of more than thirty-two bytes";
pub const NEW: &str = "\"the second secret, of more than thirty-two bytes\"";

/// A service and a drill with it.
pub struct Scene {
    _stack: Running,
    pub urls: Vec<(String, String)>,
    pub folder: tempfile::TempDir,
    said: RefCell<String>,
}

impl Scene {
    pub fn new(settings: &[&str]) -> Self {
        let first = format!("encryption_secret={OLD}");
        let mut args = vec!["--set", first.as_str(), "--set", "heartbeat_ms=300"];
        for setting in settings {
            args.extend(["--set", setting]);
        }
        let (stack, urls) = stack(&args);
        Self {
            _stack: stack,
            urls,
            folder: tempfile::tempdir().unwrap(),
            said: RefCell::default(),
        }
    }

    pub fn file(&self) -> PathBuf {
        self.folder.path().join("drill.json")
    }

    pub fn edge(&self) -> &str {
        url(&self.urls, "edge")
    }

    pub fn drill(&self, step: &str, more: &[&str]) -> Output {
        self.drill_with(step, &self.file(), self.edge(), more)
    }

    pub fn prepared(&self, step: &str, file: &Path, edge: &str) -> Command {
        let mut command = command(&[
            "drill", "rotation", step, "--format", "json", "--edge", edge,
        ]);
        command
            .arg("--state")
            .arg(file)
            .env("EVENKEEL_TOKEN", "demo-token")
            .env("EVENKEEL_AI_KEY", KEY)
            .env("RUST_LOG", "trace");
        command
    }

    /// Starts a check, and returns while its first call is with the provider.
    pub fn check_under_way(&self) -> Running {
        let calls = || {
            let log = get(url(&self.urls, "control"), "/requests");
            let text = log["requests"].to_string();
            text.matches("/api/v1/ai/analyze").count()
        };
        let before = calls();
        let mut check = self.prepared("check", &self.file(), self.edge());
        let check = check.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let check = Running(check.unwrap());
        let end = Instant::now() + Duration::from_secs(30);
        while calls() == before {
            assert!(Instant::now() < end, "the check calls nobody");
            std::thread::sleep(Duration::from_millis(10));
        }
        check
    }

    pub fn drill_with(&self, step: &str, file: &Path, edge: &str, more: &[&str]) -> Output {
        let output = self.prepared(step, file, edge).args(more).output().unwrap();
        let mut said = self.said.borrow_mut();
        said.push_str(&String::from_utf8_lossy(&output.stdout));
        said.push_str(&stderr(&output));
        output
    }

    pub fn step(&self, step: &str, more: &[&str]) -> (Option<i32>, Value) {
        let output = self.drill(step, more);
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        let report = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        (output.status.code(), report)
    }

    /// What `finish` says while device sessions from before the change may live, and then until that is over.
    pub fn wait_for_the_lifetime(&self) -> Value {
        let (code, early) = self.step("finish", &["--window", "0s"]);
        assert_eq!(
            (code, &early["verdict"]),
            (Some(1), &"failed".into()),
            "{early}"
        );
        let until = Duration::from_millis(early["wait_until_ms"].as_u64().unwrap());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        // The lifetime itself is what is waited for.
        std::thread::sleep(until.saturating_sub(now) + Duration::from_millis(1));
        early
    }

    pub fn put_secret(&self, name: &str, value: &str) {
        let path = format!("/secrets/{name}");
        control(url(&self.urls, "control"), "PUT", &path, value);
    }

    /// What the operator's three commands do.
    pub fn change_secret(&self) {
        self.put_secret("KEY_ENCRYPTION_SECRET_PREV", &format!("\"{OLD}\""));
        self.put_secret("KEY_ENCRYPTION_SECRET", NEW);
        self.restart();
    }

    /// Ends the service; the drill's file stays with the folder.
    pub fn end(self) -> tempfile::TempDir {
        self.folder
    }

    pub fn restart(&self) {
        control(url(&self.urls, "control"), "POST", "/edge/restart", "");
    }

    pub fn fault(&self, name: &str, value: &str) {
        let path = format!("/faults/{name}");
        control(url(&self.urls, "control"), "PUT", &path, value);
    }

    /// Nothing that was printed in this drill may hold a secret.
    pub fn tells_no_secret(&self) {
        let said = self.said.borrow();
        let kept: Value = serde_json::from_str(&fs::read_to_string(self.file()).unwrap()).unwrap();
        let sessions = kept["sessions"].as_array().unwrap().iter();
        let cookies: Vec<_> = sessions.filter_map(|s| s["cookie"].as_str()).collect();
        assert!(cookies.len() == 3 && cookies[0].len() > 8, "{kept}");
        for secret in [KEY, "demo-token", OLD].iter().chain(&cookies) {
            assert!(!said.contains(secret), "{secret} in {said}");
        }
        assert!(!kept.to_string().contains(KEY), "the key is in the file");
    }
}

pub fn state_of<'a>(report: &'a Value, id: &str) -> &'a str {
    let criteria = report["criteria"].as_array().unwrap();
    let found = criteria.iter().find(|criterion| criterion["id"] == id);
    found.unwrap_or_else(|| panic!("no {id} in {report}"))["state"]
        .as_str()
        .unwrap()
}

pub fn evidence<'a>(report: &'a Value, id: &str) -> &'a str {
    let criteria = report["criteria"].as_array().unwrap();
    let found = criteria.iter().find(|criterion| criterion["id"] == id);
    found.unwrap()["evidence"].as_str().unwrap()
}
