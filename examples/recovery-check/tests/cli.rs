//! The commands as a script sees them: real processes, exit codes, fields.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Running, command, control, get, lines, run, stack, stderr, url, wait};
use serde_json::Value;

#[test]
fn help_teaches_and_needs_no_service() {
    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    for word in [
        "demo",
        "watch",
        "status",
        "stack",
        "Exit codes",
        "EVENKEEL_EDGE",
    ] {
        assert!(text.contains(word), "{word} is missing in:\n{text}");
    }
    let mut seen = Vec::new();
    let mut left: Vec<Vec<String>> = subcommands(&text).map(|name| vec![name]).collect();
    assert!(left.len() >= 9, "{left:?}");
    while let Some(path) = left.pop() {
        let words: Vec<_> = path.iter().map(String::as_str).collect();
        let output = self::command(&[&words[..], &["--help"]].concat())
            .env("EVENKEEL_EDGE", "https://me:pw@example.com")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{path:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.contains("pw@"), "the environment is not told");
        let before = left.len();
        left.extend(subcommands(&text).map(|name| [&path[..], &[name]].concat()));
        assert!(
            left.len() > before || text.contains("Example"),
            "{path:?} has no example:\n{text}"
        );
        seen.push((path.join(" "), text));
    }
    for (command, words) in [
        ("watch", &["first line", "SIGTERM", "--tui"][..]),
        ("status", &["synced", "degraded", "Exit codes"]),
        ("demo", &["criteria"]),
        ("triage", &["Exit codes", "--server-log"]),
        ("verify", &["Exit codes", "polling never passes"]),
        ("handshake", &["Exit codes", "first_heartbeat"]),
        ("record", &["Exit codes", "Nothing secret"]),
        ("report", &["Exit codes", "no scripts"]),
        (
            "stack",
            &["circuit_open_ms", "origin_refuses", "PUT /faults"],
        ),
    ] {
        let (_, text) = seen.iter().find(|(name, _)| name == command).unwrap();
        for word in words {
            assert!(text.contains(word), "{word} is missing in:\n{text}");
        }
    }
}

/// The names below `Commands:`, each two columns in.
fn subcommands(help: &str) -> impl Iterator<Item = String> {
    let below = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = below
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            let name = line
                .strip_prefix("  ")
                .filter(|rest| !rest.starts_with(' '))?;
            name.split_whitespace().next()
        });
    names.filter(|name| *name != "help").map(str::to_owned)
}

#[test]
fn usage_and_configuration_errors_exit_with_2_and_say_what_to_do() {
    for (args, word) in [
        (&["frobnicate"][..], "frobnicate"),
        (&["watch"], "--edge"),
        (
            &["status", "--edge", "http://127.0.0.1:1"],
            "EVENKEEL_TOKEN",
        ),
        (
            &["status", "--edge", "x", "--token-file", "/nonexistent"],
            "/nonexistent",
        ),
        (&["status", "--until", "happy"], "degraded"),
        (&["stack", "--set", "nothing=1"], "nothing"),
        (
            &["stack", "--set", "circuit_threshold=0"],
            "circuit_threshold",
        ),
        (
            &[
                "stack",
                "--role",
                "origin",
                "--origin-url",
                "http://127.0.0.1:1",
            ],
            "edge",
        ),
        (&["stack", "--listen", "192.0.2.1"], "--tls-dir"),
        (&["stack", "--tls-name", "x.example"], "--tls-dir"),
        (&["stack", "--role", "origin", "--tls-dir", "x"], "edge"),
        (
            &[
                "handshake",
                "--edge",
                "https://localhost:1",
                "--ca-file",
                "/nonexistent",
            ],
            "--ca-file",
        ),
        (&["demo", "--seconds", "1"], "20"),
    ] {
        let output = run(args);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{args:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(word),
            "{args:?}: {}",
            stderr(&output)
        );
        assert!(output.stdout.is_empty());
    }
    for edge in [
        "http://example.com",
        "ftp://127.0.0.1",
        "https://me:pw@example.com",
        "no url",
    ] {
        let output = command(&["status", "--edge", edge])
            .env("EVENKEEL_TOKEN", "t")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{edge}");
        assert!(!stderr(&output).contains("pw"), "{}", stderr(&output));
    }
}

#[test]
fn watch_prints_a_line_for_each_status_and_nothing_else() {
    let (_stack, urls) = stack(&["--set", "circuit_open_ms=1000"]);
    let mut watch = command(&["watch", "--for", "4s", "--format", "jsonl"])
        .args(["--edge", url(&urls, "edge")])
        .env("EVENKEEL_TOKEN", "demo-token")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(watch.stdout.take().unwrap());
    let mut lines: Vec<Value> = Vec::new();
    let mut broken = false;
    for line in stdout.lines() {
        lines.push(serde_json::from_str(&line.unwrap()).unwrap());
        if !broken && lines.last().unwrap()["state"] == "synced" {
            broken = true;
            control(
                url(&urls, "control"),
                "PUT",
                "/faults/origin_refuses",
                "true",
            );
        }
    }
    assert_eq!(wait(&mut watch, Duration::from_secs(5)), Some(0));
    for line in &lines {
        let mut names: Vec<_> = line
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "at_ms",
                "attempt",
                "cause",
                "cursor",
                "elapsed_ms",
                "event",
                "layer",
                "lifecycle",
                "link",
                "next_attempt_in_ms",
                "pending",
                "state"
            ]
        );
        assert_eq!(line["event"], "status");
        assert!(line["at_ms"].as_u64().unwrap() > 1_600_000_000_000);
    }
    assert_eq!(lines[0]["state"], "syncing");
    assert_eq!(lines[0]["lifecycle"], "running");
    assert!(
        lines
            .iter()
            .any(|line| line["state"] == "synced" && line["link"] == "stream")
    );
    let last = lines.last().unwrap();
    assert_eq!(last["state"], "degraded");
    assert_eq!(last["layer"], "path");
    assert_eq!(last["cause"], "network_error");
    assert!(last["elapsed_ms"].as_u64().unwrap() >= 3_900);
    assert!(last["next_attempt_in_ms"].is_u64());
}

#[test]
fn status_says_whether_the_wanted_state_was_reached() {
    let (_stack, urls) = stack(&[]);
    let status = |more: &[&str]| {
        command(
            &[
                &["status", "--format", "json", "--edge", url(&urls, "edge")],
                more,
            ]
            .concat(),
        )
        .env("EVENKEEL_TOKEN", "demo-token")
        .output()
        .unwrap()
    };
    let output = status(&["--until", "synced", "--timeout", "10s"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(lines(&output)[0]["state"], "synced");
    assert_eq!(lines(&output).len(), 1);
    let output = status(&["--until", "degraded", "--timeout", "1s"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(lines(&output)[0]["state"], "synced");
    let output = status(&[]);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_wrong_token_is_told_as_such_and_a_token_file_is_read_again() {
    let (_stack, urls) = stack(&[]);
    let output = command(&["status", "--edge", url(&urls, "edge"), "--format", "json"])
        .env("EVENKEEL_TOKEN", "wrong")
        .output()
        .unwrap();
    assert_eq!(lines(&output)[0]["cause"], "auth_required");
    assert!(!stderr(&output).contains("wrong"));

    let dir = Scratch::new("token");
    let file = dir.0.join("token");
    std::fs::write(&file, "demo-token\n").unwrap();
    let output = run(&[
        "status",
        "--until",
        "synced",
        "--edge",
        url(&urls, "edge"),
        "--token-file",
        file.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn the_device_id_is_kept_in_the_state_dir() {
    let (_stack, urls) = stack(&[]);
    let dir = Scratch::new("state");
    let state = dir.0.to_str().unwrap();
    let devices = || {
        let output = command(&[
            "status",
            "--until",
            "synced",
            "--edge",
            url(&urls, "edge"),
            "--state-dir",
            state,
        ])
        .env("EVENKEEL_TOKEN", "demo-token")
        .output()
        .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let body = get(url(&urls, "edge"), "/api/v2/devices");
        body["devices"].as_array().unwrap().len()
    };
    // The look itself is by a device of its own each time.
    let first = devices();
    assert_eq!(devices(), first);
}

#[test]
fn an_edge_and_an_origin_run_apart_and_end_on_a_signal() {
    let (mut origin, urls) = stack(&["--role", "origin"]);
    let origin_url = url(&urls, "origin").to_owned();
    let (mut edge, urls) = stack(&["--role", "edge", "--origin-url", &origin_url]);
    let output = command(&["status", "--until", "synced", "--edge", url(&urls, "edge")])
        .env("EVENKEEL_TOKEN", "demo-token")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for running in [&mut edge, &mut origin] {
        let pid = running.0.id().to_string();
        let killed = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(killed.success());
        let ended = wait(&mut running.0, Duration::from_secs(5));
        assert_eq!(ended, Some(0));
    }
}

#[test]
fn a_taken_port_is_a_clear_error() {
    let (_stack, urls) = stack(&["--role", "origin"]);
    let port = url(&urls, "origin").rsplit(':').next().unwrap().to_owned();
    let output = run(&["stack", "--role", "origin", "--origin-port", &port]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("another port"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn the_demo_shows_three_faults_and_recovers() {
    let begun = Instant::now();
    let output = run(&["demo", "--format", "jsonl"]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert!(begun.elapsed() < Duration::from_secs(60));
    let lines = lines(&output);
    let of = |event: &'static str| lines.iter().filter(move |line| line["event"] == event);
    for fault in ["origin_refuses", "replay_store_down", "stream_silent"] {
        for on in [true, false] {
            assert_eq!(
                of("fault")
                    .filter(|f| f["name"] == fault && f["on"] == on)
                    .count(),
                1
            );
        }
    }
    assert!(of("status").any(|s| s["cause"] == "circuit_open"));
    assert!(of("status").any(|s| s["link"] == "polling"));
    assert!(of("status").any(|s| s["cause"] == "stream_stalled"));
    assert!(of("status").any(|s| s["pending"] == 1));
    let held: Vec<_> = of("criterion").map(|c| (&c["id"], &c["state"])).collect();
    assert_eq!(held.len(), 3, "{held:?}");
    assert!(of("criterion").all(|c| c["state"] == "pass" && c["evidence"].is_string()));
    assert_eq!(lines.last().unwrap()["verdict"], "recovered");
}

#[test]
fn a_demo_without_enough_time_has_not_recovered() {
    let output = run(&["demo", "--seconds", "20", "--format", "jsonl"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(lines(&output).last().unwrap()["verdict"], "not_recovered");
}

/// `watch` or `status` as a client of this stack.
fn client_of(urls: &[(String, String)], args: &[&str]) -> Command {
    let mut command = command(args);
    command
        .args(["--edge", url(urls, "edge")])
        .env("EVENKEEL_TOKEN", "demo-token");
    command
}

/// A service whose clients stay `syncing`: on a busy machine they are `synced` before anybody looks otherwise.
fn stuck() -> (Running, Vec<(String, String)>) {
    let (running, urls) = stack(&["--set", "proxy_timeout_ms=30000"]);
    control(url(&urls, "control"), "PUT", "/faults/origin_hangs", "true");
    (running, urls)
}

#[test]
fn a_watch_of_no_time_at_all_tells_the_start_and_the_end() {
    let (_stack, urls) = stuck();
    for span in ["0s", "1ms"] {
        let output = client_of(&urls, &["watch", "--for", span, "--format", "jsonl"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let lines = lines(&output);
        assert!(lines.len() >= 2, "{lines:?}");
        assert_eq!(lines[0]["state"], "syncing");
        assert!(lines.iter().all(|line| line["lifecycle"] == "running"));
    }
}

#[test]
fn a_status_without_time_to_wait_is_the_one_at_the_start() {
    let (_stack, urls) = stuck();
    for (until, code) in [
        (&[][..], 0),
        (&["--until", "syncing"], 0),
        (&["--until", "synced"], 1),
    ] {
        let args = ["status", "--timeout", "0s", "--format", "json"];
        let output = client_of(&urls, &[&args[..], until].concat())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(code), "{until:?}");
        let lines = lines(&output);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["state"], "syncing");
        assert_eq!(lines[0]["lifecycle"], "running");
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_run_quietly() {
    let (_stack, urls) = stack(&[]);
    let commands = [
        client_of(&urls, &["watch", "--for", "2s", "--format", "jsonl"]),
        client_of(&urls, &["watch", "--for", "2s"]),
        command(&["demo"]),
    ];
    for mut command in commands {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut first)
            .unwrap();
        assert!(first.ends_with('\n'));
        let ended = wait(&mut child, Duration::from_secs(20));
        let mut said = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        assert_eq!((ended, said.as_str()), (Some(0), ""), "{command:?}");
    }
}

#[test]
#[cfg(unix)]
fn a_signal_ends_each_command_with_its_last_word() {
    let (_stack, urls) = stack(&[]);
    let watch = ["watch", "--format", "jsonl"];
    let status = ["status", "--format", "json", "--until", "degraded"];
    for (signal, mut command, code, last) in [
        ("INT", client_of(&urls, &watch), 0, ("state", "synced")),
        ("TERM", client_of(&urls, &watch), 0, ("state", "synced")),
        ("TERM", client_of(&urls, &status), 1, ("state", "synced")),
        (
            "INT",
            self::command(&["demo", "--format", "jsonl"]),
            1,
            ("verdict", "not_recovered"),
        ),
    ] {
        let child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut running = Running(child);
        // Long enough to be synced; `status` says nothing before its end.
        std::thread::sleep(Duration::from_millis(1500));
        let pid = running.0.id().to_string();
        let flag = format!("-{signal}");
        assert!(
            Command::new("kill")
                .args([&flag, &pid])
                .status()
                .unwrap()
                .success()
        );
        let mut text = String::new();
        let mut stdout = running.0.stdout.take().unwrap();
        stdout.read_to_string(&mut text).unwrap();
        assert_eq!(
            wait(&mut running.0, Duration::from_secs(5)),
            Some(code),
            "{command:?}"
        );
        let line: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(line[last.0], last.1, "{text}");
    }
}

#[test]
fn a_token_file_is_read_as_people_write_them_and_refused_with_a_reason() {
    let (_stack, urls) = stack(&[]);
    let dir = Scratch::new("tokens");
    let file = dir.0.join("token");
    let path = file.to_str().unwrap();
    let edge = url(&urls, "edge");
    let status = [
        "status",
        "--until",
        "synced",
        "--edge",
        edge,
        "--token-file",
        path,
    ];
    for text in ["demo-token", "\u{feff}demo-token\r\n", "\n demo-token \n\n"] {
        std::fs::write(&file, text).unwrap();
        let output = run(&status);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{text:?}: {}",
            stderr(&output)
        );
    }
    let long = "x".repeat(100_000);
    for (bytes, why) in [
        (&b"\xff\xfed\0e\0m\0o\0"[..], "UTF-8"),
        (b"", "empty"),
        (b"two words", "one word"),
        (b"a\x01b", "one word"),
        (long.as_bytes(), "too large"),
    ] {
        std::fs::write(&file, bytes).unwrap();
        let output = run(&status);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(why), "{}", stderr(&output));
        assert!(stderr(&output).contains(path), "{}", stderr(&output));
        assert!(
            !stderr(&output).contains("words"),
            "the content is not told"
        );
    }
}

#[test]
#[cfg(unix)]
fn a_token_may_come_through_a_pipe_that_is_read_once() {
    let (_stack, urls) = stack(&[]);
    let edge = url(&urls, "edge");
    let args = ["status", "--until", "synced", "--edge", edge];
    let mut child = command(&[&args[..], &["--token-file", "/dev/stdin"]].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"demo-token\n").unwrap();
    assert_eq!(wait(&mut child, Duration::from_secs(20)), Some(0));
}

#[test]
fn a_setting_that_cannot_be_used_is_named_with_what_to_do() {
    let dir = Scratch::new("settings");
    let (file, corrupt) = (dir.0.join("file"), dir.0.join("corrupt"));
    std::fs::write(&file, "").unwrap();
    std::fs::create_dir_all(&corrupt).unwrap();
    std::fs::write(corrupt.join("device-id"), "nonsense").unwrap();
    let (file, corrupt) = (file.to_str().unwrap(), corrupt.to_str().unwrap());
    for (args, words) in [
        (["--edge", "http://example.com"], ["--edge", "https"]),
        (["--device-id", "me"], ["--device-id", "UUID"]),
        (["--state-dir", file], ["--state-dir", "another directory"]),
        (["--state-dir", corrupt], ["--state-dir", "delete it"]),
    ] {
        let output = command(&["status"])
            .args(args)
            .env("EVENKEEL_TOKEN", "t")
            .envs((args[0] != "--edge").then_some(("EVENKEEL_EDGE", "http://127.0.0.1:1")))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        for word in words {
            assert!(stderr(&output).contains(word), "{}", stderr(&output));
        }
    }
}

/// A test that does not get to the end of its lines would otherwise never end.
fn until(lines: &mut impl Iterator<Item = Value>, there: impl Fn(&Value) -> bool) -> Vec<Value> {
    let mut seen = Vec::new();
    for line in lines {
        let reached = there(&line);
        seen.push(line);
        if reached {
            return seen;
        }
    }
    panic!("it never came: {seen:?}");
}

#[test]
fn a_watch_over_an_apps_store_shows_pending_rise_and_fall() {
    use evenkeel::store::{SqliteStore, StoreOptions};
    let (_stack, urls) = stack(&["--set", "circuit_open_ms=1000"]);
    let scratch = Scratch::new("watch-store");
    let path = scratch.0.join("notes.db");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = runtime
        .block_on(SqliteStore::open(&path, "demo", StoreOptions::default()))
        .unwrap();
    let write = |id: &str| {
        let fields = serde_json::json!({"content": id});
        let written = store.put(id, fields.as_object().unwrap().clone());
        runtime.block_on(written).unwrap();
    };
    let over = path.to_str().unwrap();
    // It ends by itself, and with it the lines.
    let args = [
        "watch", "--format", "jsonl", "--for", "60s", "--store", over,
    ];
    let mut child = client_of(&urls, &[&args[..], &["--account", "demo"]].concat())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    let _running = Running(child);
    let mut lines = BufReader::new(stdout)
        .lines()
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let synced = |line: &Value| line["state"] == "synced";
    until(&mut lines, synced);

    let faults = url(&urls, "control");
    control(faults, "PUT", "/faults/origin_refuses", "true");
    write("n1");
    until(&mut lines, |line| line["state"] == "degraded");
    write("n2");
    write("n3");
    until(&mut lines, |line| line["pending"] == 3);
    control(faults, "POST", "/reset", "");
    let after = until(&mut lines, |line| line["pending"] == 0);
    assert!(after.iter().all(|line| line["pending"].as_u64() <= Some(3)));
    if !synced(after.last().unwrap()) {
        until(&mut lines, synced);
    }
    let notes = get(url(&urls, "origin"), "/api/v2/notes?includeDeleted=true");
    assert_eq!(notes["notes"].as_array().unwrap().len(), 3);
}

#[test]
fn a_store_that_cannot_be_watched_is_told_and_none_is_made() {
    let (_stack, urls) = stack(&[]);
    let scratch = Scratch::new("watch-nothing");
    let missing = scratch.0.join("typo.db");
    let text = scratch.0.join("text.db");
    std::fs::write(&text, "dear diary").unwrap();
    for (path, word) in [(&missing, "there is no"), (&text, "is not a store")] {
        let path_text = path.to_str().unwrap();
        let args = [
            "watch",
            "--for",
            "1s",
            "--store",
            path_text,
            "--account",
            "demo",
        ];
        let output = client_of(&urls, &args).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(word), "{}", stderr(&output));
    }
    assert!(!missing.exists());
    let output = client_of(&urls, &["watch", "--store", "a.db"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--account"));
}

/// A folder that goes with the test.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
