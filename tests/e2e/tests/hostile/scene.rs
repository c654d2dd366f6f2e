//! A client with its durable store before a service that turns hostile, and what has to be true of it
//! whatever the service did.

use std::future::Future;
use std::io;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use evenkeel::store::{Durability, SqliteStore, StoreOptions};
use evenkeel::{Cause, Network, ProxySetting, Secret, Status, SyncClient, SyncState, Timeouts};
use evenkeel_e2e::{Diary, reach};
use serde_json::{Map, Value, json};

use crate::server::{EVENTS, NOTES, PULL, PUSH, Reply, Service, TICKET, TICKETS, TOKEN, good};

pub(crate) const MIB: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a scenario in a process of its own, so that its memory and its log are its alone.
pub(crate) fn alone<F: Future<Output = ()>>(name: &str, scenario: impl FnOnce() -> F) {
    if std::env::var("EVENKEEL_HOSTILE").as_deref() == Ok(name) {
        listen();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(scenario());
        runtime.shutdown_background();
        return;
    }
    let begun = Instant::now();
    let child = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env("EVENKEEL_HOSTILE", name)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    let ran = String::from_utf8_lossy(&output.stdout).contains("1 passed");
    assert!(output.status.success() && ran, "{name}: {told}");
    for line in told.lines().filter(|line| line.starts_with("measured")) {
        eprintln!("{name} {line}, {:.1?} in all", begun.elapsed());
    }
}

/// Client, store and service, all in good order.
pub(crate) struct Scene {
    pub(crate) service: Service,
    /// Where nothing may be sent.
    pub(crate) elsewhere: Service,
    pub(crate) client: SyncClient,
    pub(crate) store: SqliteStore,
    pub(crate) diary: Diary,
    folder: tempfile::TempDir,
    memory_before: usize,
    writes: Mutex<u32>,
    begun: Instant,
}

impl Scene {
    pub(crate) async fn start() -> Self {
        Self::with(Service::start().await, Timeouts::default(), None).await
    }

    pub(crate) async fn with(service: Service, mut timeouts: Timeouts, pem: Option<&str>) -> Self {
        // The only setting of a client here that is not the default.
        timeouts.quiet = Duration::ZERO;
        let folder = tempfile::tempdir().unwrap();
        let mut options = StoreOptions::default();
        options.durability = Durability::Fast;
        let path = folder.path().join("store.db");
        let store = SqliteStore::open(path, "account", options).await.unwrap();
        let mut builder = SyncClient::builder(&service.url)
            .token(Secret::new(TOKEN))
            .replica(store.clone())
            .state_dir(folder.path().join("state"))
            .timeouts(timeouts)
            .proxy(ProxySetting::None)
            .seed(7);
        if let Some(pem) = pem {
            builder = builder.extra_root_certificates(pem);
        }
        let client = builder.build().unwrap();
        let diary = Diary::of(&client);
        service.write("theirs", "first");
        client.start().unwrap();
        let scene = Self {
            service,
            elsewhere: Service::start().await,
            client,
            store,
            diary,
            folder,
            memory_before: 0,
            writes: Mutex::new(0),
            begun: Instant::now(),
        };
        scene.write().await;
        scene.synced("at first").await;
        let memory_before = peak_from_here();
        Self {
            memory_before,
            begun: Instant::now(),
            ..scene
        }
    }

    /// A local write, which has to be on the server in the end.
    pub(crate) async fn write(&self) {
        let n = {
            let mut writes = self.writes.lock().unwrap();
            *writes += 1;
            *writes
        };
        let mut fields = Map::new();
        fields.insert("content".into(), Value::from(format!("ours {n}")));
        self.store.put(format!("ours-{n}"), fields).await.unwrap();
    }

    /// Makes the client ask for this.
    pub(crate) async fn provoke(&self, lane: &'static str) {
        match lane {
            TICKETS | EVENTS => self.service.cut_streams(),
            PULL | NOTES => self.service.write("theirs", "again"),
            PUSH => self.write().await,
            other => panic!("no lane {other}"),
        }
    }

    /// The service answers one lane like this, and the client says that this is why.
    pub(crate) async fn meet(&self, lane: &'static str, reply: Reply, cause: Cause) -> Status {
        self.service.script(move |seen| match seen.path.as_str() {
            // A snapshot is only asked for where the log has been pruned.
            PULL if lane == NOTES => Reply::Bytes(reset(&seen.query)),
            path if path == lane => reply.clone(),
            _ => Reply::Healthy,
        });
        self.provoke(lane).await;
        self.degraded(lane, cause).await
    }

    /// Waits until the client is in trouble for this reason; that a stream was closed is said before.
    pub(crate) async fn degraded(&self, what: &str, cause: Cause) -> Status {
        let what = format!("{what}: {cause}");
        let there =
            |status: &Status| status.state == SyncState::Degraded && status.cause == Some(cause);
        reach(&self.client, &what, PATIENCE, there).await;
        self.client.status()
    }

    pub(crate) async fn synced(&self, what: &str) {
        let there = |status: &Status| status.state == SyncState::Synced;
        reach(&self.client, what, PATIENCE, there).await;
    }

    /// One hostility in one lane, from beginning to end.
    pub(crate) async fn survive(&self, lane: &'static str, reply: Reply, cause: Cause) {
        self.meet(lane, reply, cause).await;
        self.write().await;
        self.recover().await;
    }

    /// The stream has just been ended: waits for that to show, and for the next one to be good.
    pub(crate) async fn leave_and_return(&self) {
        let left = |status: &Status| status.state != SyncState::Synced;
        reach(&self.client, "left synced", PATIENCE, left).await;
        self.synced("came back").await;
    }

    /// The service turns good, and all is well.
    pub(crate) async fn recover(&self) {
        self.service.heal();
        self.recover_unhealed().await;
    }

    /// All is well although the service goes on as it does.
    pub(crate) async fn recover_unhealed(&self) {
        // What is waited for is known to be over: nobody has to sit out minutes in a test.
        self.client.retry_now();
        self.client.set_network(Network::Up);
        let writes = *self.writes.lock().unwrap();
        let arrived = async {
            for n in 1..=writes {
                while self.service.content(&format!("ours-{n}")).is_none() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        };
        let arrived = tokio::time::timeout(PATIENCE, arrived).await;
        assert!(
            arrived.is_ok(),
            "a write does not come: {:?}",
            self.client.status()
        );
        let nothing_waits =
            |status: &Status| status.state == SyncState::Synced && status.pending == 0;
        reach(
            &self.client,
            "after it turned good",
            PATIENCE,
            nothing_waits,
        )
        .await;
        for n in 1..=writes {
            let id = format!("ours-{n}");
            assert_eq!(self.service.content(&id), Some(format!("ours {n}")));
            assert_eq!(self.service.writings(&id), 1, "{id} was written twice");
            assert!(
                self.store.get(id.as_str()).await.unwrap().is_some(),
                "{id} is gone"
            );
        }
        // The status does not tell of a write that is acknowledged within 300 ms.
        let last = Instant::now() + PATIENCE;
        while let pending = self.store.pending().await.unwrap()
            && !pending.operations.is_empty()
        {
            assert!(Instant::now() < last, "{pending:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The end of every scenario: memory, requests, secrets.
    pub(crate) async fn finish(self, growth_max: usize, requests_max: usize) {
        let grown = peak().saturating_sub(self.memory_before);
        let (requests, took) = (self.service.requests(), self.begun.elapsed());
        eprintln!(
            "measured: {:.1} of {} MiB more at the peak, {requests} of {requests_max} requests in {took:.1?}",
            grown as f64 / MIB as f64,
            growth_max / MIB
        );
        assert!(grown <= growth_max, "{grown} bytes more at its peak");
        assert!(requests <= requests_max, "{requests} requests in {took:?}");
        assert_eq!(self.elsewhere.requests(), 0, "something went elsewhere");
        for seen in self.service.seen() {
            let (bearer, cookie) = (seen.header("authorization"), seen.header("cookie"));
            let on_stream = seen.path == EVENTS;
            assert_eq!(bearer.is_empty(), on_stream, "{}", seen.path);
            assert!(cookie.is_empty() || on_stream, "{}", seen.path);
            assert!(!seen.head.contains(EVIL), "{}", seen.head);
        }
        let told = serde_json::to_string(&self.client.diagnostics()).unwrap();
        let said = format!("{:?}", self.diary.pages());
        self.client.stop().await;
        self.store.close().await.unwrap();
        for secret in [TOKEN, TICKET, EVIL] {
            assert!(!told.contains(secret), "{secret} is in {told}");
            assert!(!said.contains(secret), "{secret} is in {said}");
            unheard(secret);
        }
        let mut left: Vec<_> = std::fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["state", "store.db", "store.db-lease"]);
    }
}

fn reset(query: &str) -> Vec<u8> {
    let from = query.trim_start_matches("cursor=");
    good(&json!({"changes": [], "resetRequired": true, "nextCursor": from, "latestCursor": from}))
}

/// One hostility in several lanes; see [`every_case`].
pub(crate) async fn every_lane(
    lanes: &[&'static str],
    growth_max: usize,
    hostility: impl Fn(&'static str) -> (Reply, Cause),
) {
    let cases = lanes.iter().map(|lane| case(lane, hostility(lane)));
    beside_each_other(&Timeouts::default(), growth_max, cases.collect()).await;
}

/// For what only ends with a timeout: a second each.
pub(crate) async fn every_lane_soon(
    lanes: &[&'static str],
    growth_max: usize,
    hostility: impl Fn(&'static str) -> (Reply, Cause),
) {
    let cases = lanes.iter().map(|lane| case(lane, hostility(lane)));
    beside_each_other(&soon(), growth_max, cases.collect()).await;
}

/// Which lane is answered how, and what the client calls that.
pub(crate) type Case = (&'static str, Reply, Cause);

/// Several hostilities beside each other, a client for each. The growth is that of them all.
pub(crate) async fn every_case(growth_max: usize, cases: Vec<Case>) {
    beside_each_other(&Timeouts::default(), growth_max, cases).await;
}

fn case(lane: &'static str, (reply, cause): (Reply, Cause)) -> Case {
    (lane, reply, cause)
}

async fn beside_each_other(timeouts: &Timeouts, growth_max: usize, cases: Vec<Case>) {
    let mut scenes = Vec::new();
    for case in cases {
        let scene = Scene::with(Service::start().await, timeouts.clone(), None).await;
        scenes.push((case, scene));
    }
    let memory_before = peak_from_here();
    let mut running = tokio::task::JoinSet::new();
    for ((lane, reply, cause), scene) in scenes {
        let scene = Scene {
            memory_before,
            begun: Instant::now(),
            ..scene
        };
        running.spawn(async move {
            scene.survive(lane, reply, cause).await;
            scene.finish(growth_max, REQUESTS_MAX).await;
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap();
    }
}

pub(crate) fn soon() -> Timeouts {
    let mut timeouts = Timeouts::default();
    timeouts.connect = Duration::from_secs(1);
    timeouts.stream_headers = Duration::from_secs(1);
    timeouts.data = Duration::from_secs(1);
    timeouts.ready = Duration::from_secs(1);
    timeouts
}

/// What a scenario of some seconds may cost, its beginning included: half a minute's allowance.
pub(crate) const REQUESTS_MAX: usize = 40;

/// A value that only a hostile server knows, and that must not be sent or told.
pub(crate) const EVIL: &str = "3vil-c00kie-value";

/// Nobody in this process has logged this.
pub(crate) fn unheard(secret: &str) {
    let logged = heard().0.lock().unwrap();
    let text = String::from_utf8_lossy(&logged);
    let line = text.lines().find(|line| line.contains(secret));
    assert_eq!(line, None, "{secret} is logged");
}

/// Memory from here on.
pub(crate) struct Measure(usize);

impl Measure {
    pub(crate) fn begin() -> Self {
        Self(peak_from_here())
    }

    pub(crate) fn end(self, growth_max: usize) {
        let grown = peak().saturating_sub(self.0);
        assert!(grown <= growth_max, "{grown} bytes more at its peak");
    }
}

/// Everything that is logged by anybody in this process.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

fn heard() -> &'static Logged {
    static HEARD: OnceLock<Logged> = OnceLock::new();
    // Its memory is not the client's.
    HEARD.get_or_init(|| Logged(Arc::new(Mutex::new(vec![1; 4 * MIB]))))
}

fn listen() {
    heard().0.lock().unwrap().clear();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with_ansi(false)
        .with_writer(|| heard().clone())
        .init();
    log::set_boxed_logger(Box::new(heard().clone())).unwrap();
    log::set_max_level(log::LevelFilter::Debug);
}

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut logged = self.0.lock().unwrap();
        // A library that logs each of a million frames is not asked for more than the beginning.
        if logged.len() + bytes.len() <= logged.capacity() {
            logged.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What comes by way of the `log` crate: reqwest, rustls.
impl log::Log for Logged {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {}\n", record.target(), record.args());
        let _ = io::Write::write(&mut self.clone(), line.as_bytes());
    }

    fn flush(&self) {}
}

/// What the process has in memory now; [`peak`] counts anew from here.
fn peak_from_here() -> usize {
    // 5: forget the peak so far.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    resident("VmRSS:")
}

fn peak() -> usize {
    resident("VmHWM:")
}

/// Zero where the system does not tell.
fn resident(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.map(|line| line.trim().trim_end_matches(" kB"));
    kib.map_or(0, |kib| kib.parse::<usize>().unwrap() << 10)
}
