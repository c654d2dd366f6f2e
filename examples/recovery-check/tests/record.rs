//! `record` and `report` as on-call uses them: real processes, a real service, a real browser.

#![allow(clippy::unwrap_used, reason = "a test that fails")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use common::{Running, command, wait};
use evenkeel_stack::Stack;
use serde_json::{Value, json};
use tempfile::TempDir;

fn recorder(stack: &Stack, out: &Path, more: &[&str]) -> Command {
    let mut command = command(&["record", "--edge", stack.edge_url(), "--interval", "100ms"]);
    command.args(["--origin", stack.origin_url(), "--out"]);
    command.arg(out).args(more);
    command.env("EVENKEEL_TOKEN", "demo-token");
    command
}

/// What `report` said, and the page.
fn report(recording: &Path, more: &[&str]) -> (String, String) {
    let page = recording.with_extension("html");
    let output = report_to(recording, &page, more);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    (said, fs::read_to_string(page).unwrap())
}

fn report_to(recording: &Path, page: &Path, more: &[&str]) -> Output {
    let mut report = command(&["report"]);
    report.arg(recording).arg("--out").arg(page).args(more);
    report.output().unwrap()
}

fn lines(recording: &Path) -> Vec<Value> {
    let text = fs::read_to_string(recording).unwrap();
    let whole = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    whole.collect()
}

fn has(recording: &Path, there: impl Fn(&Value) -> bool) {
    until("the recording holds it", || {
        recording.exists() && lines(recording).iter().any(&there)
    });
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.jsonl");
    (folder, file)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_and_its_end_are_recorded_and_shown() {
    let stack = Stack::builder().set("circuit_open_ms", "1000").unwrap();
    let stack = stack.start().await.unwrap();
    let (_folder, file) = folder();
    let mut running = Running(recorder(&stack, &file, &[]).spawn().unwrap());
    let synced = |line: &Value| line["state"] == "synced";
    has(&file, synced);
    stack.faults().update(|f| f.origin_refuses = true);
    has(&file, |line| line["cause"] == "network_error");
    has(&file, |line| {
        line["edge"]["vpsProxyCircuit"]["open"] == true
    });
    has(&file, |line| line["ready"]["unknown"].is_string());
    stack.faults().reset();
    stack.faults().update(|f| f.replay_store_down = true);
    has(&file, |line| {
        line["ready"]["body"]["dependencies"]["streamTicket"]["replayStoreAvailable"] == false
    });
    stack.faults().reset();
    let so_far = lines(&file).len();
    until("synced again", || lines(&file)[so_far..].iter().any(synced));
    let samples = || {
        lines(&file)
            .iter()
            .filter(|l| l["event"] == "sample")
            .count()
    };
    let enough = samples() + 15;
    until("a quiet second", || samples() > enough);
    let pid = running.0.id().to_string();
    let sent = Command::new("kill").args(["-TERM", &pid]).status();
    assert!(sent.unwrap().success());
    assert_eq!(wait(&mut running.0, BOUND), Some(0));
    let all = lines(&file);
    assert_eq!(all[0]["event"], "begin");
    assert_eq!(all.last().unwrap()["event"], "end");
    let (said, page) = report(&file, &["--window", "1s"]);
    assert!(
        said.contains("recovered") && !said.contains("not"),
        "{said}"
    );
    for words in [
        "Recovered, after",
        "network_error",
        "vpsProxyCircuitOpens",
        "streamTicket",
    ] {
        assert!(page.contains(words), "{words} is not in the page");
    }
    assert!(!page.contains("<script"), "no scripts");
    let secret = fs::read_to_string(&file).unwrap();
    assert!(!secret.contains("demo-token") && !page.contains("demo-token"));
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_recording_is_one_and_goes_on_where_it_is_asked_to() {
    let stack = Stack::builder().start().await.unwrap();
    let (_folder, file) = folder();
    let mut running = Running(recorder(&stack, &file, &[]).spawn().unwrap());
    has(&file, |line| line["event"] == "sample");
    running.0.kill().unwrap();
    running.0.wait().unwrap();
    // Wherever the kill meets it, and also in the middle of a line.
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, &text[..text.len() - 20]).unwrap();
    let (_, page) = report(&file, &[]);
    assert!(page.contains("its last line is cut off"));
    let again = recorder(&stack, &file, &["--for", "1s"]).output().unwrap();
    assert_eq!(again.status.code(), Some(2));
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(said.contains("--append"), "{said}");
    let again = recorder(&stack, &file, &["--for", "1s", "--append"]);
    assert_eq!({ again }.output().unwrap().status.code(), Some(0));
    let (said, page) = report(&file, &[]);
    assert!(said.contains("unknown"), "too short for 30 s: {said}");
    assert!(page.contains("nothing was recorded"), "the gap is told");
    assert!(page.contains("1 line"), "the half line is told");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg(target_os = "linux")]
async fn a_full_disk_is_said_and_ends_it() {
    let stack = Stack::builder().start().await.unwrap();
    let full = Path::new("/dev/full");
    let output = recorder(&stack, full, &["--append"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("/dev/full") && said.contains("No space left"),
        "{said}"
    );
    stack.stop().await;
}

#[test]
fn a_report_of_nothing_says_so() {
    let (folder, file) = folder();
    let page = folder.path().join("page.html");
    for (bytes, word) in [
        (&b""[..], "record --out"),
        (b"{}\n", "record --out"),
        (b"\xff\x00<", "record --out"),
    ] {
        fs::write(&file, bytes).unwrap();
        let output = report_to(&file, &page, &[]);
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains(word));
        assert!(!page.exists());
    }
    let output = report_to(&folder.path().join("none"), &page, &[]);
    assert_eq!(output.status.code(), Some(2));
    fs::write(&file, line(0, "synced", None)).unwrap();
    let output = report_to(&file, &folder.path().join("no/such/page.html"), &[]);
    assert_eq!(output.status.code(), Some(3));
}

const EVIL: &str = "</title></style><script>document.title='owned'</script><img src=x onerror=alert(1)>\"'&\u{202e}";

fn line(at_s: u64, state: &str, cause: Option<&str>) -> String {
    let at_ms = at_s * 1000;
    let line = json!({"event": "status", "at_ms": at_ms, "elapsed_ms": at_ms, "state": state,
        "link": "stream", "cause": cause, "layer": cause});
    format!("{line}\n")
}

/// A recording of this many samples in which everything that can be hostile is, and the edge restarts.
fn hostile(samples: u64, interval_ms: u64) -> String {
    let begin = json!({"event": "begin", "v": 1, "at_ms": 0, "tool": EVIL, "edge": EVIL,
        "origin": EVIL, "interval_ms": interval_ms});
    let mut text = format!("{begin}\n");
    for i in 0..samples {
        let at_ms = i * interval_ms;
        if i % 50 == 0 {
            text.push_str(&line(at_ms / 1000, "synced", None));
        }
        if i % 50 == 40 {
            text.push_str(&line(at_ms / 1000, "degraded", Some(EVIL)));
        }
        let n = i % (samples / 2);
        let ready = if i % 97 == 0 {
            json!({"unknown": EVIL})
        } else {
            json!({"status": 200, "body": {"ok": true, "dependencies": {
                "database": {"ok": true},
                "redis": {"ok": i % 50 < 40, "degraded": false, "lastErrorMessage": EVIL},
                "realtime": {"degraded": i % 50 == 45, "degradedReason": EVIL}}}})
        };
        let edge = json!({"metrics": {"requests": n, "vpsProxyCircuitOpens": n / 50},
            "failureCauses": {"upstream": {EVIL: n / 7, format!("{EVIL}{i}"): "9"}},
            "vpsProxyCircuit": {"open": i % 50 > 44}});
        let sample = json!({"event": "sample", "at_ms": at_ms, "elapsed_ms": at_ms,
            "ready": ready, "edge": edge});
        text.push_str(&format!("{sample}\n"));
    }
    text
}

#[test]
fn a_day_of_two_seconds_stays_small() {
    let (_folder, file) = folder();
    fs::write(&file, hostile(43_200, 2_000)).unwrap();
    let (_, page) = report(&file, &[]);
    assert!(page.len() < 600_000, "{} bytes", page.len());
    assert!(page.contains("The longest 50 of"));
}

#[test]
fn numbers_out_of_this_world_make_a_page_too() {
    let (_folder, file) = folder();
    let max = u64::MAX;
    let text = [
        json!({"event": "begin", "at_ms": max, "interval_ms": max}),
        json!({"event": "status", "at_ms": 0, "elapsed_ms": max, "state": "asleep"}),
        json!({"event": "status", "at_ms": max, "elapsed_ms": 0, "state": "degraded"}),
        json!({"event": "begin", "at_ms": 5}),
        json!({"event": "status", "at_ms": 5, "elapsed_ms": 5, "state": "degraded"}),
        json!({"event": "end", "at_ms": max, "elapsed_ms": max}),
    ];
    let text: Vec<_> = text.iter().map(Value::to_string).collect();
    fs::write(&file, text.join("\n")).unwrap();
    let (said, _) = report(&file, &["--window", "365days"]);
    assert!(said.contains("not recovered"), "{said}");
}

/// Looks at a page in a browser without a screen; what it wrote to its console.
fn look(page: &Path, more: &[&str]) -> Option<String> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let home = page.with_extension("profile");
    let begun = names.iter().find_map(|name| {
        Command::new(name)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
            ])
            .args([
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
                "--window-size=1120,1750",
            ])
            .args([
                "--enable-logging=stderr",
                "--v=0",
                "--disable-background-networking",
            ])
            .arg(format!("--user-data-dir={}", home.display()))
            .args(more)
            .arg(format!("file://{}", page.display()))
            .output()
            .ok()
    });
    let output = begun.or_else(|| {
        // tests/run says what this leaves out.
        assert_ne!(
            std::env::var("CI").as_deref(),
            Ok("true"),
            "no browser to look with"
        );
        None
    })?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let console: Vec<_> = said
        .lines()
        .filter(|line| line.contains("CONSOLE"))
        .collect();
    Some(console.join("\n") + &String::from_utf8_lossy(&output.stdout))
}

#[test]
fn a_browser_shows_the_page_and_complains_about_nothing() {
    let (folder, file) = folder();
    fs::write(&file, hostile(900, 2_000)).unwrap();
    let (_, page) = report(&file, &[]);
    assert!(!page.contains("<script") && !page.contains("<img"));
    let page = file.with_extension("html");
    for (name, more) in [
        ("light", &["--blink-settings=preferredColorScheme=1"][..]),
        ("dark", &["--blink-settings=preferredColorScheme=0"]),
    ] {
        let png = folder.path().join(format!("{name}.png"));
        let shot = format!("--screenshot={}", png.display());
        let Some(console) = look(&page, &[more, &[shot.as_str()]].concat()) else {
            return;
        };
        assert_eq!(console, "", "in {name}");
        let bytes = fs::read(&png).unwrap();
        assert!(bytes.starts_with(b"\x89PNG"));
        assert!(
            bytes.len() > 40_000,
            "an empty page is smaller: {}",
            bytes.len()
        );
    }
    let (light, dark) = (
        folder.path().join("light.png"),
        folder.path().join("dark.png"),
    );
    assert_ne!(fs::read(light).unwrap(), fs::read(dark).unwrap());
    let pdf = folder.path().join("paper.pdf");
    look(&page, &[&format!("--print-to-pdf={}", pdf.display())]).unwrap();
    assert!(fs::read(&pdf).unwrap().starts_with(b"%PDF"));
    // What the browser made of the bytes: no element of the hostile strings.
    let dom = look(&page, &["--dump-dom", "--timeout=5000"]).unwrap();
    assert!(
        dom.contains("</svg>") && dom.contains("&lt;script&gt;"),
        "it is text"
    );
    assert!(!dom.contains("<script") && !dom.contains("<img") && !dom.contains("<title>owned"));
}

/// Looks again and again, for a bounded time.
fn until(what: &str, mut there: impl FnMut() -> bool) {
    let end = Instant::now() + BOUND;
    while !there() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

const BOUND: Duration = Duration::from_secs(90);
