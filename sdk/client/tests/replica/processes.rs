//! Several processes on one store: who syncs it, and what becomes of it when that one dies, freezes or
//! is suspended.
//!
//! Each process is this test binary again, running [`child`] alone: it does what it reads on its
//! standard input, and says on its standard output what its client says.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use evenkeel::store::SqliteStore;
use evenkeel::{Secret, SyncClient};
use rusqlite::{Connection, TransactionBehavior};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::bench::{ACCOUNT, Place, content, fast};
use crate::common::{Reply, Service, TOKEN, eventually, unavailable};

const STORE: &str = "EVENKEEL_PROCESSES_TEST_STORE";
const URL: &str = "EVENKEEL_PROCESSES_TEST_URL";
const BOUND: Duration = Duration::from_secs(60);

/// What a process said so far.
#[derive(Clone, Debug, Default)]
struct Said {
    status: Value,
    /// Everything else.
    events: Vec<Value>,
}

struct Process {
    child: tokio::process::Child,
    orders: ChildStdin,
    said: watch::Receiver<Said>,
}

impl Process {
    fn start(service: &Service, place: &Place) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "processes::child", "--ignored", "--nocapture"])
            .env(STORE, place.path())
            .env(URL, &service.url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let orders = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (news, said) = watch::channel(Said::default());
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                // The test harness talks too, before and after.
                let Ok(line) = serde_json::from_str::<Value>(&line) else {
                    continue;
                };
                news.send_modify(|said| match line.get("status") {
                    Some(status) => said.status = status.clone(),
                    None => said.events.push(line),
                });
            }
        });
        Self {
            child,
            orders,
            said,
        }
    }

    async fn order(&mut self, order: &str) {
        let line = format!("{order}\n");
        self.orders.write_all(line.as_bytes()).await.unwrap();
    }

    async fn until(&mut self, what: &str, wanted: impl Fn(&Said) -> bool) {
        let waiting = async { self.said.wait_for(wanted).await.is_ok() };
        let reached = timeout(BOUND, waiting).await == Ok(true);
        if !reached {
            panic!("not {what}: {:?}", *self.said.borrow());
        }
    }

    async fn holds(&mut self) {
        self.until("the one that syncs", |said| {
            said.status["syncs_here"] == true && said.status["state"] == "synced"
        })
        .await;
    }

    async fn follows(&mut self) {
        self.until("a follower", |said| {
            said.status["syncs_here"] == false && said.status["state"] == "synced"
        })
        .await;
    }

    async fn wrote(&mut self, id: &str, text: &str) {
        self.order(&format!("put {id} {text}")).await;
        self.until("safe", |said| said.events.contains(&json!({"safe": id})))
            .await;
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().unwrap().to_string();
        let sent = std::process::Command::new("kill")
            .args([signal, &pid])
            .status();
        assert!(sent.unwrap().success());
    }
}

async fn arrives(service: &Service, id: &str, text: &str) -> Duration {
    let begun = Instant::now();
    let there = || service.content(id).as_deref() == Some(text);
    eventually("a write at the service", there).await;
    begun.elapsed()
}

/// The process that syncs, and one that does not.
async fn pair(service: &Service, place: &Place) -> (Process, Process) {
    let mut holder = Process::start(service, place);
    holder.holds().await;
    let mut follower = Process::start(service, place);
    follower.follows().await;
    (holder, follower)
}

#[tokio::test]
async fn what_a_follower_writes_goes_out_through_the_holder() {
    let (service, place) = (Service::start().await, Place::new());
    let (mut holder, mut follower) = pair(&service, &place).await;
    let devices = |path: &str| {
        let seen = service.seen(path);
        let devices = seen.iter().map(|s| s.header("x-device-id").to_owned());
        devices.collect::<std::collections::BTreeSet<_>>()
    };
    for n in 0..5 {
        follower.wrote("a", &n.to_string()).await;
        let took = arrives(&service, "a", &n.to_string()).await;
        // Half a second until it is noticed, and the way to the service; the rest is the machine's.
        assert!(took < Duration::from_secs(3), "{took:?}");
    }
    holder.wrote("b", "ours").await;
    arrives(&service, "b", "ours").await;
    for path in [
        "/api/v2/sync/push",
        "/api/v2/sync/pull",
        "/api/v2/events/ticket",
    ] {
        assert_eq!(devices(path).len(), 1, "{path} is asked for by one alone");
    }
}

#[tokio::test]
async fn a_holder_that_is_killed_is_followed_within_seconds() {
    let (service, place) = (Service::start().await, Place::new());
    let (mut holder, mut follower) = pair(&service, &place).await;
    for round in 0..5 {
        holder.signal("-KILL");
        let begun = Instant::now();
        follower.wrote("a", &round.to_string()).await;
        follower.holds().await;
        arrives(&service, "a", &round.to_string()).await;
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(10), "{took:?}");
        holder.child.wait().await.unwrap();
        holder = follower;
        follower = Process::start(&service, &place);
        follower.follows().await;
    }
}

#[tokio::test]
async fn a_holder_that_was_frozen_writes_nothing_when_it_wakes() {
    let (service, place) = (Service::start().await, Place::new());
    let (mut frozen, mut follower) = pair(&service, &place).await;
    // A push of the frozen one is on its way, and its answer comes while it sleeps.
    let hold_back = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let holding = Arc::clone(&hold_back);
    service.script(move |seen| {
        let push = seen.path == "/api/v2/sync/push";
        if push && holding.load(std::sync::atomic::Ordering::SeqCst) {
            Reply::Hang
        } else {
            Reply::Healthy
        }
    });
    frozen.wrote("a", "first").await;
    eventually("a push", || !service.seen("/api/v2/sync/push").is_empty()).await;
    frozen.signal("-STOP");
    hold_back.store(false, std::sync::atomic::Ordering::SeqCst);
    follower.holds().await;
    follower.wrote("b", "after").await;
    arrives(&service, "a", "first").await;
    arrives(&service, "b", "after").await;

    frozen.signal("-CONT");
    frozen.follows().await;
    frozen.wrote("a", "second").await;
    arrives(&service, "a", "second").await;
    follower.holds().await;
    let pushes = service.seen("/api/v2/sync/push");
    let of_the_frozen = pushes[0].header("x-device-id");
    let again = pushes[1..]
        .iter()
        .filter(|p| p.header("x-device-id") == of_the_frozen);
    assert_eq!(again.count(), 0, "it sent something after it woke up");
}

#[tokio::test]
async fn a_suspended_process_leaves_the_store_to_others_at_once() {
    let (service, place) = (Service::start().await, Place::new());
    let mut process = Process::start(&service, &place);
    process.holds().await;
    for round in 0..5 {
        process.wrote("a", &round.to_string()).await;
        process.order("suspend").await;
        let suspended = |said: &Said| {
            let done = said
                .events
                .iter()
                .filter(|event| **event == json!("suspended"));
            done.count() == round + 1
        };
        process.until("suspended", suspended).await;
        // This is another process, and it does not wait.
        let mut db = Connection::open(place.path()).unwrap();
        db.busy_timeout(Duration::ZERO).unwrap();
        db.pragma_update(None, "locking_mode", "EXCLUSIVE").unwrap();
        let tx = db.transaction_with_behavior(TransactionBehavior::Exclusive);
        tx.unwrap().commit().unwrap();
        drop(db);
        #[cfg(target_os = "linux")]
        assert_eq!(open_files(&process, &place), Vec::<String>::new());
        process.order("resume").await;
        process
            .until("running", |said| said.status["lifecycle"] == "running")
            .await;
        process.holds().await;
        arrives(&service, "a", &round.to_string()).await;
    }
}

/// What of the store's folder the process has open.
#[cfg(target_os = "linux")]
fn open_files(process: &Process, place: &Place) -> Vec<String> {
    let folder = place.path().parent().unwrap().to_owned();
    let open = std::fs::read_dir(format!("/proc/{}/fd", process.child.id().unwrap())).unwrap();
    let open = open.filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok());
    let ours = open.filter(|path| path.starts_with(&folder));
    ours.map(|path| path.display().to_string()).collect()
}

#[tokio::test]
async fn a_suspended_holder_is_followed_and_comes_back_as_a_follower() {
    let (service, place) = (Service::start().await, Place::new());
    let (mut first, mut second) = pair(&service, &place).await;
    first.order("suspend").await;
    second.holds().await;
    first.order("resume").await;
    first.follows().await;
    first.wrote("a", "through the other").await;
    arrives(&service, "a", "through the other").await;
}

#[tokio::test]
async fn a_follower_tells_of_an_outage_as_the_holder_does() {
    let (service, place) = (Service::start().await, Place::new());
    let (mut holder, mut follower) = pair(&service, &place).await;
    service.script(|_| Reply::Full(unavailable("circuit_open", Some(2))));
    service.cut_streams(false);
    let degraded =
        |said: &Said| said.status["state"] == "degraded" && said.status["cause"] == "circuit_open";
    holder.until("degraded", degraded).await;
    follower.until("degraded", degraded).await;
    follower.wrote("a", "meanwhile").await;
    follower
        .until("waiting", |said| said.status["pending"] == 1)
        .await;
    service.heal();
    holder.holds().await;
    follower.follows().await;
    follower
        .until("sent", |said| said.status["pending"] == 0)
        .await;
    assert_eq!(service.content("a").unwrap(), "meanwhile");
}

#[tokio::test]
async fn of_processes_that_start_at_the_same_moment_one_syncs() {
    for _ in 0..3 {
        let (service, place) = (Service::start().await, Place::new());
        let mut all: Vec<_> = (0..4).map(|_| Process::start(&service, &place)).collect();
        for process in &mut all {
            process
                .until("synced", |said| said.status["state"] == "synced")
                .await;
        }
        let holders = all
            .iter()
            .filter(|p| p.said.borrow().status["syncs_here"] == true);
        assert_eq!(holders.count(), 1);
        let mut tickets = Vec::new();
        for seen in service.seen("/api/v2/events/ticket") {
            tickets.push(seen.header("x-device-id").to_owned());
        }
        tickets.dedup();
        assert_eq!(tickets.len(), 1, "{tickets:?}");
    }
}

#[tokio::test]
async fn a_store_that_is_wiped_under_the_holder_is_closed_to_it() {
    let (service, place) = (Service::start().await, Place::new());
    let (mut holder, mut follower) = pair(&service, &place).await;
    holder.wrote("a", "secret").await;
    arrives(&service, "a", "secret").await;
    follower.order("wipe").await;
    follower
        .until("wiped", |said| said.events.contains(&json!("wiped")))
        .await;
    holder
        .until("without a store", |said| {
            said.status["cause"] == "store_failed"
        })
        .await;
    let other = SqliteStore::open(place.path(), "account-2", fast()).await;
    assert_eq!(other.unwrap().get("a").await.unwrap(), None);
}

/// Not a test: one of the processes.
#[tokio::test]
#[ignore = "run by the tests above as a process of its own"]
async fn child() {
    let Ok(path) = std::env::var(STORE) else {
        return;
    };
    let store = SqliteStore::open(path, ACCOUNT, fast()).await.unwrap();
    let client = SyncClient::builder(std::env::var(URL).unwrap())
        .token(Secret::new(TOKEN))
        .replica(store.clone())
        .build()
        .unwrap();
    client.start().unwrap();
    let mut statuses = client.status_changes();
    tokio::spawn(async move {
        while let Some(status) = statuses.next().await {
            say(&json!({"status": status}));
        }
    });
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    while let Some(order) = orders.next_line().await.unwrap() {
        let mut words = order.splitn(3, ' ');
        match (words.next().unwrap(), words.next(), words.next()) {
            ("put", Some(id), Some(text)) => {
                store.put(id, content(text)).await.unwrap();
                say(&json!({ "safe": id }));
            }
            ("suspend", ..) => {
                client.suspend(BOUND).await.unwrap();
                say(&json!("suspended"));
            }
            ("resume", ..) => client.resume(),
            ("wipe", ..) => {
                client.stop().await;
                store
                    .sign_out(evenkeel::store::SignOut::Wipe)
                    .await
                    .unwrap();
                say(&json!("wiped"));
            }
            order => panic!("{order:?}"),
        }
    }
}

fn say(line: &Value) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}
