//! `drill rotation`, against a real service whose secret is really changed.

#![allow(clippy::unwrap_used)]

mod common;

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use common::elsewhere::without_metrics;
use common::{Running, command, control, exchange, get, run, stack, stderr, url};
use serde_json::Value;

const KEY: &str = "key-of-the-drill-7f3a9";
const OLD: &str = "the first secret, of more than thirty-two bytes";
const NEW: &str = "\"the second secret, of more than thirty-two bytes\"";

/// A service and a drill with it.
struct Scene {
    _stack: Running,
    urls: Vec<(String, String)>,
    folder: tempfile::TempDir,
    said: RefCell<String>,
}

impl Scene {
    fn new(settings: &[&str]) -> Self {
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

    fn file(&self) -> PathBuf {
        self.folder.path().join("drill.json")
    }

    fn edge(&self) -> &str {
        url(&self.urls, "edge")
    }

    fn drill(&self, step: &str, more: &[&str]) -> Output {
        self.drill_with(step, &self.file(), self.edge(), more)
    }

    fn drill_with(&self, step: &str, file: &Path, edge: &str, more: &[&str]) -> Output {
        let output = command(&[
            "drill", "rotation", step, "--format", "json", "--edge", edge,
        ])
        .arg("--state")
        .arg(file)
        .args(more)
        .env("EVENKEEL_TOKEN", "demo-token")
        .env("EVENKEEL_AI_KEY", KEY)
        .env("RUST_LOG", "trace")
        .output()
        .unwrap();
        let mut said = self.said.borrow_mut();
        said.push_str(&String::from_utf8_lossy(&output.stdout));
        said.push_str(&stderr(&output));
        output
    }

    fn step(&self, step: &str, more: &[&str]) -> (Option<i32>, Value) {
        let output = self.drill(step, more);
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        let report = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        (output.status.code(), report)
    }

    fn put_secret(&self, name: &str, value: &str) {
        let path = format!("/secrets/{name}");
        control(url(&self.urls, "control"), "PUT", &path, value);
    }

    /// What the operator's three commands do.
    fn change_secret(&self) {
        self.put_secret("KEY_ENCRYPTION_SECRET_PREV", &format!("\"{OLD}\""));
        self.put_secret("KEY_ENCRYPTION_SECRET", NEW);
        self.restart();
    }

    fn restart(&self) {
        control(url(&self.urls, "control"), "POST", "/edge/restart", "");
    }

    fn fault(&self, name: &str, value: &str) {
        let path = format!("/faults/{name}");
        control(url(&self.urls, "control"), "PUT", &path, value);
    }

    /// Nothing that was printed in this drill may hold a secret.
    fn tells_no_secret(&self) {
        let said = self.said.borrow();
        let kept: Value = serde_json::from_str(&fs::read_to_string(self.file()).unwrap()).unwrap();
        let cookie = kept["sessions"][0]["cookie"].as_str().unwrap();
        assert!(cookie.len() > 8, "{kept}");
        for secret in [KEY, "demo-token", cookie, OLD] {
            assert!(!said.contains(secret), "{secret} in {said}");
        }
        assert!(!kept.to_string().contains(KEY), "the key is in the file");
    }
}

fn state_of<'a>(report: &'a Value, id: &str) -> &'a str {
    let criteria = report["criteria"].as_array().unwrap();
    let found = criteria.iter().find(|criterion| criterion["id"] == id);
    found.unwrap_or_else(|| panic!("no {id} in {report}"))["state"]
        .as_str()
        .unwrap()
}

fn evidence<'a>(report: &'a Value, id: &str) -> &'a str {
    let criteria = report["criteria"].as_array().unwrap();
    let found = criteria.iter().find(|criterion| criterion["id"] == id);
    found.unwrap()["evidence"].as_str().unwrap()
}

#[test]
fn a_rotation_with_an_overlap_passes_from_begin_to_finish() {
    // Long enough for the steps up to the check, short enough to be waited for.
    let scene = Scene::new(&["ai_session_ms=8000"]);
    let (code, begun) = scene.step("begin", &[]);
    assert_eq!(
        (code, &begun["verdict"]),
        (Some(0), &"passed".into()),
        "{begun}"
    );
    assert_eq!(
        begun["commands"],
        serde_json::json!([
            "npx wrangler secret put KEY_ENCRYPTION_SECRET_PREV --config worker/wrangler.toml",
            "npm run worker:secret:set",
            "npm run worker:deploy",
        ])
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(scene.file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    scene.change_secret();
    let (code, checked) = scene.step("check", &[]);
    assert_eq!(
        (code, &checked["verdict"]),
        (Some(0), &"passed".into()),
        "{checked}"
    );
    let moved = evidence(&checked, "reencrypted");
    assert!(moved.contains("rose by 2, 2 were under"), "{moved}");
    let (code, again) = scene.step("check", &[]);
    assert_eq!(code, Some(0), "{again}");
    let moved = evidence(&again, "reencrypted");
    assert!(moved.contains("rose by 0, 0 were under"), "{moved}");

    let (code, early) = scene.step("finish", &["--window", "100ms"]);
    assert_eq!(
        (code, &early["verdict"]),
        (Some(1), &"failed".into()),
        "{early}"
    );
    assert!(evidence(&early, "lifetime").contains("wait "), "{early}");
    let until = early["wait_until_ms"].as_u64().unwrap();
    assert_eq!(early["commands"].as_array().unwrap().len(), 0);
    let now = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        u64::try_from(since.unwrap().as_millis()).unwrap()
    };
    while now() < until {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }

    let (code, unseen) = scene.step("finish", &["--window", "100ms"]);
    assert_eq!(
        (code, &unseen["verdict"]),
        (Some(3), &"unknown".into()),
        "{unseen}"
    );
    assert_eq!(state_of(&unseen, "account_keys"), "unknown");
    assert_eq!(unseen["commands"].as_array().unwrap().len(), 0);
    let allowing = ["--window", "100ms", "--allow-unknown", "accounts"];
    let (code, finished) = scene.step("finish", &allowing);
    assert_eq!(
        (code, &finished["verdict"]),
        (Some(0), &"passed".into()),
        "{finished}"
    );
    assert_eq!(
        finished["commands"],
        serde_json::json!([
            "npx wrangler secret delete KEY_ENCRYPTION_SECRET_PREV --config worker/wrangler.toml"
        ])
    );
    let status = get(scene.edge(), "/api/v1/auth/status");
    assert_eq!(
        status["connected"], false,
        "the account's session was closed: {status}"
    );
    scene.tells_no_secret();
}

#[test]
fn an_accounts_own_session_is_used_and_left_alone() {
    let scene = Scene::new(&["ai_session_ms=2500"]);
    let connect = r#"{"provider":"openrouter","apiKey":"the-users-own"}"#;
    control(scene.edge(), "POST", "/api/v1/auth/connect", connect);
    let (code, begun) = scene.step("begin", &[]);
    assert_eq!(code, Some(0), "{begun}");
    assert!(evidence(&begun, "account").contains("was there already"));
    scene.change_secret();
    let (code, checked) = scene.step("check", &[]);
    assert_eq!(code, Some(0), "{checked}");
    std::thread::sleep(std::time::Duration::from_millis(2600));
    let (code, done) = scene.step("finish", &["--window", "0s", "--allow-unknown", "accounts"]);
    assert_eq!(code, Some(0), "{done}");
    let status = get(scene.edge(), "/api/v1/auth/status");
    assert_eq!(status["connected"], true);
    assert_eq!(status["provider"], "openrouter");
}

#[test]
fn a_new_secret_without_an_overlap_fails_and_so_does_none_at_all() {
    let scene = Scene::new(&[]);
    assert_eq!(scene.step("begin", &[]).0, Some(0));
    let (code, nothing) = scene.step("check", &[]);
    assert_eq!(
        (code, &nothing["verdict"]),
        (Some(1), &"failed".into()),
        "{nothing}"
    );
    assert_eq!(state_of(&nothing, "reencrypted"), "fail");
    assert_eq!(state_of(&nothing, "sessions"), "pass");
    let (code, refused) = scene.step("finish", &["--window", "0s"]);
    assert_eq!(
        (code, state_of(&refused, "checked")),
        (Some(1), "fail"),
        "{refused}"
    );

    scene.put_secret("KEY_ENCRYPTION_SECRET", NEW);
    scene.restart();
    let (code, lost) = scene.step("check", &[]);
    assert_eq!(
        (code, &lost["verdict"]),
        (Some(1), &"failed".into()),
        "{lost}"
    );
    assert_eq!(state_of(&lost, "sessions"), "fail");
    assert_eq!(state_of(&lost, "decrypt"), "fail");
    assert!(
        lost["next_steps"]
            .to_string()
            .contains("KEY_ENCRYPTION_SECRET_PREV")
    );

    // The overlap put back mends it.
    scene.put_secret("KEY_ENCRYPTION_SECRET_PREV", &format!("\"{OLD}\""));
    let (code, mended) = scene.step("check", &[]);
    assert_eq!(
        (code, &mended["verdict"]),
        (Some(0), &"passed".into()),
        "{mended}"
    );
    scene.tells_no_secret();
}

#[test]
fn what_cannot_be_seen_is_never_called_good() {
    let scene = Scene::new(&[]);
    let elsewhere = without_metrics(scene.edge());
    let hidden = |step: &str| {
        let output = scene.drill_with(step, &scene.file(), &elsewhere, &[]);
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let begun = hidden("begin");
    assert_eq!(state_of(&begun, "counters"), "unknown", "{begun}");
    assert!(!scene.file().exists(), "nothing was begun");
    assert_eq!(begun["commands"].as_array().unwrap().len(), 0);

    scene.fault("provider_refuses", "true");
    let (code, away) = scene.step("begin", &[]);
    assert_eq!(
        (code, state_of(&away, "device")),
        (Some(3), "unknown"),
        "{away}"
    );
    assert!(!scene.file().exists());
    let status = get(scene.edge(), "/api/v1/auth/status");
    assert_eq!(status["connected"], false, "it tidied up: {status}");
    scene.fault("provider_refuses", "false");

    scene.restart(); // the provider's circuit
    let (code, begun) = scene.step("begin", &[]);
    assert_eq!(code, Some(0), "{begun}");
    let (code, unseen) = scene.step("finish", &["--window", "0s"]);
    assert_eq!(
        (code, state_of(&unseen, "checked")),
        (Some(3), "unknown"),
        "{unseen}"
    );

    scene.change_secret();
    scene.fault("provider_refuses", "true");
    let (code, away) = scene.step("check", &[]);
    assert_eq!(
        (code, state_of(&away, "sessions")),
        (Some(3), "unknown"),
        "{away}"
    );
    assert_eq!(state_of(&away, "decrypt"), "pass", "{away}");
    scene.fault("provider_refuses", "false");
    // The same drill, looked at from another machine.
    let whole = fs::read_to_string(scene.file()).unwrap();
    fs::write(scene.file(), whole.replace(scene.edge(), &elsewhere)).unwrap();
    let checked = hidden("check");
    assert_eq!(state_of(&checked, "counters"), "unknown", "{checked}");
}

#[test]
fn a_file_that_is_no_drill_of_this_edge_is_refused_and_kept() {
    let scene = Scene::new(&[]);
    let refused = |output: &Output, words: &str| {
        assert_eq!(output.status.code(), Some(2), "{}", stderr(output));
        assert!(stderr(output).contains(words), "{}", stderr(output));
    };
    refused(&scene.drill("check", &[]), "begin the drill");
    assert_eq!(scene.drill("begin", &[]).status.code(), Some(0));
    refused(&scene.drill("begin", &[]), "--force");
    let (other, urls) = stack(&["--set", "heartbeat_ms=300"]);
    let elsewhere = scene.drill_with("check", &scene.file(), url(&urls, "edge"), &[]);
    refused(&elsewhere, "was begun with");
    drop(other);

    let whole = fs::read_to_string(scene.file()).unwrap();
    for (text, words) in [
        ("", "not a drill's file"),
        ("{}", "not a drill's file"),
        (&whole[..whole.len() / 2], "not a drill's file"),
        (
            &whole.replacen("\"version\": 1", "\"version\": 2", 1),
            "newer recovery-check",
        ),
        (
            &whole.replacen("\"begun_at_ms\": 1", "\"begun_at_ms\": 9", 1),
            "clock",
        ),
    ] {
        fs::write(scene.file(), text).unwrap();
        refused(&scene.drill("check", &[]), words);
        assert_eq!(
            fs::read_to_string(scene.file()).unwrap(),
            text,
            "it was kept"
        );
    }
    fs::write(scene.file(), &whole).unwrap();
    assert_eq!(scene.drill("begin", &["--force"]).status.code(), Some(0));
    scene.tells_no_secret();
}

#[test]
fn a_key_has_to_come_from_somewhere_safe() {
    let scene = Scene::new(&[]);
    let file = scene.file();
    let path = file.to_str().unwrap();
    let begin = [
        "drill",
        "rotation",
        "begin",
        "--state",
        path,
        "--edge",
        scene.edge(),
    ];
    let none = run(&begin);
    assert_eq!(none.status.code(), Some(2));
    assert!(
        stderr(&none).contains("EVENKEEL_AI_KEY"),
        "{}",
        stderr(&none)
    );
    let key = scene.folder.path().join("key");
    fs::write(&key, format!("{KEY}\n")).unwrap();
    // Without a token it is a device's drill alone.
    let output = command(&begin)
        .arg("--key-file")
        .arg(&key)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}{}", stderr(&output));
    for words in [
        "Run these yourself",
        "worker:secret:set",
        "left out",
        "rotation check",
    ] {
        assert!(text.contains(words), "{words} is missing in:\n{text}");
    }
    assert!(
        !exchange(scene.edge(), "GET", "/api/v1/auth/status", "").contains("\"connected\":true")
    );
}
