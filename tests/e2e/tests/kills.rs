//! The notes app, killed two hundred times while it writes, sends and receives: what it said to be
//! safe is on the server in the end, once, and no store is damaged.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use evenkeel::{MemoryReplica, Secret, SyncClient, SyncState};
use evenkeel_e2e::{program, reach};
use evenkeel_stack::{Cut, Faults, Stack};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

const STORES: u64 = 4;
/// Of each store, at least; two processes are killed in each.
const ROUNDS: u64 = 25;
/// Notes of each store that were safe: on a busy machine that takes more rounds.
const SAFE_MIN: usize = 126;
const BOUND: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notes_that_are_killed_lose_nothing() {
    let seed = std::env::var("EVENKEEL_SEED").ok();
    let seed = seed.map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("EVENKEEL_SEED={seed}");
    let stack = Stack::builder()
        .set("rate_limit_requests", "1000000")
        .unwrap()
        .set("circuit_threshold", "20")
        .unwrap()
        .set("circuit_open_ms", "200")
        .unwrap()
        .start()
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let trouble = tokio::spawn(trouble(stack.faults(), fastrand::Rng::with_seed(seed)));
    let mut devices = Vec::new();
    for store in 0..STORES {
        let device = Device {
            notes: program("evenkeel-notes", "notes"),
            store: folder.path().join(format!("{store}.db")),
            url: stack.edge_url().to_owned(),
        };
        let rng = fastrand::Rng::with_seed(seed ^ (store + 1));
        devices.push(tokio::spawn(async move {
            let told = device.suffer(store, rng).await;
            (device, told)
        }));
    }
    let mut safe = BTreeMap::new();
    let mut survivors = Vec::new();
    for device in devices {
        let (device, told) = device.await.unwrap();
        survivors.push(device);
        safe.extend(told);
    }
    trouble.abort();
    stack.faults().reset();
    for device in &survivors {
        device.settle().await;
    }
    let there = contents(&stack).await;
    println!("{} notes were safe, {} arrived", safe.len(), there.len());
    let enough = STORES as usize * SAFE_MIN;
    assert!(safe.len() >= enough, "hardly anything was written");
    for (id, content) in &safe {
        assert_eq!(there.get(id), Some(content), "EVENKEEL_SEED={seed}");
    }
    let once: BTreeSet<_> = there.values().collect();
    assert_eq!(once.len(), there.len(), "a note arrived twice");
    stack.stop().await;
}

/// Short troubles of the service, one after the other.
async fn trouble(faults: Faults, mut rng: fastrand::Rng) {
    loop {
        sleep(Duration::from_millis(rng.u64(50..400))).await;
        faults.reset();
        let set = |name, value| faults.set(name, value).unwrap();
        match rng.u8(0..7) {
            0 => set("push_answers_lost", json!(2)),
            1 => set("push_breaks_after", json!(1)),
            2 => set("late_commits", json!({"delay_ms": 100, "every": 2})),
            3 => set("origin_errors", json!({"rate": 0.5, "status": 500})),
            4 => set("announcements_missing", json!(true)),
            5 => faults.cut_streams(Cut::Reset),
            _ => {}
        }
    }
}

/// One store, with the processes that use it.
struct Device {
    notes: PathBuf,
    store: PathBuf,
    url: String,
}

impl Device {
    /// Kills processes that write, again and again. What they said to be safe: ids and contents.
    async fn suffer(&self, store: u64, mut rng: fastrand::Rng) -> BTreeMap<String, String> {
        let mut safe = BTreeMap::new();
        let begun = Instant::now();
        let mut round = 0;
        while round < ROUNDS || (safe.len() < SAFE_MIN && begun.elapsed() < BOUND) {
            // Two at once: one of them syncs, and the other has to take over.
            let pair = [0, 1].map(|n| self.writer(format!("{store}-{round}-{n}")));
            let (first, second) = (rng.u64(0..400), rng.u64(0..600));
            let [a, b] = pair;
            let (a, b) = tokio::join!(
                a.until_killed(Duration::from_millis(first)),
                b.until_killed(Duration::from_millis(second)),
            );
            safe.extend(a);
            safe.extend(b);
            round += 1;
        }
        safe
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.notes);
        command
            .args(["--json", "--url", &self.url, "--store"])
            .arg(&self.store)
            .args(args)
            .env("EVENKEEL_TOKEN", "demo-token")
            .kill_on_drop(true);
        command
    }

    fn writer(&self, name: String) -> Writer {
        let child = self
            .command(&["add", "-", "--wait", "60"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Writer { name, child }
    }

    /// Everything that waits goes out; the store is checked from end to end whenever it is opened.
    async fn settle(&self) {
        let sync = self.command(&["sync", "--wait", "100"]).output();
        let synced = timeout(BOUND, sync).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&synced.stdout);
        let complaints = String::from_utf8_lossy(&synced.stderr);
        assert!(synced.status.success(), "{said}{complaints}");
        let notes = self.command(&["list"]).output().await.unwrap();
        let lines = String::from_utf8(notes.stdout).unwrap();
        let unsettled = lines.lines().filter(|line| !line.contains(r#""synced""#));
        assert_eq!(unsettled.collect::<Vec<_>>(), Vec::<&str>::new());
        assert!(is_whole(&self.store));
    }
}

fn is_whole(store: &Path) -> bool {
    let db = rusqlite::Connection::open(store).unwrap();
    let verdict = db.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
    verdict.unwrap() == "ok"
}

/// A process that writes a note for each line that it is given.
struct Writer {
    name: String,
    child: Child,
}

impl Writer {
    async fn until_killed(mut self, after: Duration) -> BTreeMap<String, String> {
        let mut input = self.child.stdin.take().unwrap();
        let name = self.name.clone();
        let feeding = tokio::spawn(async move {
            for line in 0.. {
                let text = format!("{}\n", content(&name, line));
                if input.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
        let mut lines = BufReader::new(self.child.stdout.take().unwrap()).lines();
        let mut safe = BTreeMap::new();
        let killing = sleep(after + START);
        tokio::pin!(killing);
        let mut killed = false;
        loop {
            tokio::select! {
                () = &mut killing, if !killed => {
                    killed = true;
                    self.child.start_kill().unwrap();
                }
                line = lines.next_line() => {
                    let Ok(Some(line)) = line else { break };
                    // The last line may be half of one.
                    let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
                    if event["event"] == "written" {
                        let id = event["id"].as_str().unwrap().to_owned();
                        safe.insert(id, content(&self.name, safe.len()));
                    }
                }
            }
        }
        feeding.abort();
        let ended = self.child.wait_with_output().await.unwrap();
        let complaints = String::from_utf8_lossy(&ended.stderr);
        assert!(killed, "it ended by itself: {complaints}");
        assert_eq!(ended.status.code(), None, "not by the signal: {complaints}");
        safe
    }
}

fn content(name: &str, line: usize) -> String {
    format!("{name} {line}")
}

/// What the service has, as a client sees it that was not there before.
async fn contents(stack: &Stack) -> BTreeMap<String, String> {
    let notes = MemoryReplica::new();
    let client = SyncClient::builder(stack.edge_url())
        .token(Secret::new("demo-token"))
        .replica(notes.clone())
        .build()
        .unwrap();
    client.start().unwrap();
    reach(&client, "synced", BOUND, |s| s.state == SyncState::Synced).await;
    client.stop().await;
    let text = |note: &evenkeel::Record| note.fields["content"].as_str().unwrap().to_owned();
    let notes = notes.list();
    notes
        .iter()
        .map(|note| (note.id.clone(), text(note)))
        .collect()
}

/// About as long as a process takes to begin.
const START: Duration = Duration::from_millis(60);
