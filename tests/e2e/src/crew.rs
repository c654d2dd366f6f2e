//! Clients under write load while something is broken, and what has to be true in the end.
//!
//! Everybody is the same user: what one writes all have to have. Each writes records of its own, so that
//! no write meets a conflict and every content that was accepted is told apart from every other.

mod outsider;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evenkeel::store::{Query, SqliteStore, StoreOptions};
use evenkeel::{Ask, Cause, Link, ProxySetting, Secret, Status, SyncClient, SyncState, Timeouts};
use serde_json::{Map, Value};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

pub use outsider::Outsider;

/// The contents that a device was told to be safe, by record; the last one counts.
pub type Accepted = BTreeMap<String, Vec<String>>;

/// A status, with its times as they were when it came.
#[derive(Clone, Debug)]
pub struct Page {
    /// When it came.
    pub at: Instant,
    /// What it said.
    pub status: Status,
    /// The wait that it announced.
    pub next_attempt_in: Option<Duration>,
    /// How long the server wanted to be left alone.
    pub floor: Option<Duration>,
}

/// How a client gets to the service, and as whom.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    /// Where the edge is, or what stands before it.
    pub url: &'a str,
    /// The certificates of its authority, where that is a private one.
    pub roots: Option<&'a [u8]>,
    /// The user; those other than `demo` need the setting `open_tokens`.
    pub user: &'a str,
    /// The pause between two writes.
    pub write_every: Duration,
    /// The environment of the one that runs in a process of its own.
    pub environment: &'a [(&'a str, &'a str)],
}

impl<'a> Way<'a> {
    /// As everybody in most scenarios goes.
    #[must_use]
    pub const fn to(url: &'a str) -> Self {
        Self {
            url,
            roots: None,
            user: "demo",
            write_every: Duration::from_millis(150),
            environment: &[],
        }
    }

    fn token(&self) -> String {
        match self.user {
            "demo" => "demo-token".to_owned(),
            user => format!("user:{user}"),
        }
    }
}

/// A client of the SDK in this process, with a store in a file, that writes all the time.
#[derive(Debug)]
pub struct Device {
    /// The client.
    pub client: SyncClient,
    /// Its store.
    pub store: SqliteStore,
    name: String,
    user: String,
    told: Arc<Mutex<Told>>,
    /// Held while it writes.
    turn: Arc<tokio::sync::Mutex<()>>,
    tasks: Vec<JoinHandle<()>>,
}

/// What is noted of a device.
#[derive(Debug, Default)]
struct Told {
    pages: Vec<Page>,
    /// How many requests had been sent, four times a second.
    sent: Vec<(Instant, u64)>,
    accepted: Accepted,
    writing: bool,
    restarts: u64,
}

impl Device {
    /// Opens a store in `folder` and starts; it writes from the time when it is told to.
    ///
    /// # Panics
    ///
    /// When that does not succeed.
    pub async fn start(name: &str, folder: &Path, way: &Way<'_>) -> Self {
        let file = folder.join(format!("{name}.db"));
        let store = SqliteStore::open(file, way.user, StoreOptions::default()).await;
        let store = store.unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut builder = SyncClient::builder(way.url)
            .token(Secret::new(way.token()))
            .replica(store.clone())
            .proxy(ProxySetting::None)
            .timeouts(timeouts());
        if let Some(roots) = way.roots {
            builder = builder.extra_root_certificates(roots);
        }
        let client = builder.build();
        let client = client.unwrap_or_else(|error| panic!("{name}: {error}"));
        let told = Arc::new(Mutex::new(Told::default()));
        let turn = Arc::default();
        let tasks = vec![
            tokio::spawn(keep_pages(client.clone(), Arc::clone(&told))),
            tokio::spawn(count_requests(client.clone(), Arc::clone(&told))),
            tokio::spawn(write(
                name.to_owned(),
                store.clone(),
                Arc::clone(&told),
                Arc::clone(&turn),
                way.write_every,
            )),
        ];
        client
            .start()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        Self {
            client,
            store,
            name: name.to_owned(),
            user: way.user.to_owned(),
            told,
            turn,
            tasks,
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every status so far.
    #[must_use]
    pub fn pages(&self) -> Vec<Page> {
        self.told().pages.clone()
    }

    /// How many requests it has sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        requests(&self.client)
    }

    /// The most requests within any minute, and how many there may be: 80 a minute, half of that at once, and
    /// that again for each start.
    #[must_use]
    pub fn sent_in_a_minute(&self) -> (u64, u64) {
        let (sent, restarts) = {
            let told = self.told();
            (told.sent.clone(), told.restarts)
        };
        let since = |i: usize| {
            let from = sent[..=i].partition_point(|(at, _)| *at + MINUTE < sent[i].0);
            sent[i].1 - sent[from].1
        };
        let most = (0..sent.len()).map(since).max().unwrap_or(0);
        (most, 120 + 40 * restarts)
    }

    /// What it was told to be safe.
    #[must_use]
    pub fn accepted(&self) -> Accepted {
        self.told().accepted.clone()
    }

    /// It writes from now on.
    pub fn write(&self) {
        self.told().writing = true;
    }

    /// It writes no more, and no write is under way, when this returns.
    pub async fn hush(&self) {
        self.told().writing = false;
        drop(self.turn.lock().await);
    }

    /// Waits for such a status with nothing left to send, by the store's word too: a write shows in the status
    /// a moment after it is in the store.
    ///
    /// # Panics
    ///
    /// When it does not come to that.
    pub async fn sends_all(&self, within: Duration, done: impl Fn(&Status) -> bool) {
        let end = Instant::now() + within;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let done = |status: &Status| done(status) && status.pending == 0;
            crate::reach(&self.client, &self.name, left, done).await;
            let pending = self.store.pending().await;
            let pending = pending.unwrap_or_else(|error| panic!("{}: {error}", self.name));
            if pending.operations.is_empty() {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until its store holds what the server has of its user, and nothing else.
    ///
    /// # Panics
    ///
    /// When it does not come to that.
    pub async fn has_all_of(&self, audit: &Audit) {
        let end = Instant::now() + SETTLE_WITHIN;
        let none = BTreeMap::new();
        let wanted = audit.records.get(&self.user).unwrap_or(&none);
        loop {
            let records = self.records().await;
            if records == *wanted {
                return;
            }
            let missing = wanted.keys().filter(|id| !records.contains_key(*id));
            assert!(
                Instant::now() < end,
                "{} has {} records, the server {}; missing {:?}; {:?}",
                self.name,
                records.len(),
                wanted.len(),
                missing.take(5).collect::<Vec<_>>(),
                self.client.status(),
            );
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Everything in its store: version and content by id.
    async fn records(&self) -> BTreeMap<String, (u64, String)> {
        let mut records = BTreeMap::new();
        let mut query = Query {
            limit: 1_000,
            ..Query::default()
        };
        loop {
            let page = self.store.list(query.clone()).await;
            let page = page.unwrap_or_else(|error| panic!("{}: {error}", self.name));
            for record in page.items {
                let content = content_of(&record.fields);
                records.insert(record.id, (record.version.0, content));
            }
            query.after = page.next;
            if query.after.is_none() {
                return records;
            }
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn keep_pages(client: SyncClient, told: Arc<Mutex<Told>>) {
    let mut statuses = client.status_changes();
    while let Some(status) = statuses.next().await {
        let page = Page {
            at: Instant::now(),
            next_attempt_in: status.next_attempt_in(),
            floor: status.floor_from_server(),
            status,
        };
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        keep_last(&mut told.pages, page);
    }
}

async fn count_requests(client: SyncClient, told: Arc<Mutex<Told>>) {
    loop {
        let sample = (Instant::now(), requests(&client));
        let note = |mut told: MutexGuard<'_, Told>| keep_last(&mut told.sent, sample);
        note(told.lock().unwrap_or_else(PoisonError::into_inner));
        sleep(Duration::from_millis(250)).await;
    }
}

/// Notes of many hours must not grow: the oldest half goes where there are too many.
fn keep_last<T>(notes: &mut Vec<T>, note: T) {
    if notes.len() == NOTES_MAX {
        notes.drain(..NOTES_MAX / 2);
    }
    notes.push(note);
}

fn requests(client: &SyncClient) -> u64 {
    let lanes = client.diagnostics().lanes;
    lanes.values().map(|lane| lane.started).sum()
}

/// New records and new contents of old ones, by turns.
async fn write(
    name: String,
    store: SqliteStore,
    told: Arc<Mutex<Told>>,
    turn: Arc<tokio::sync::Mutex<()>>,
    every: Duration,
) {
    for number in 0_u64.. {
        sleep(every).await;
        let _turn = turn.lock().await;
        if !told.lock().unwrap_or_else(PoisonError::into_inner).writing {
            continue;
        }
        let id = match number % 2 {
            0 => format!("{name}-{number}"),
            _ => format!("{name}-edited-{}", number % 3),
        };
        let content = format!("{name} wrote {number}");
        let mut fields = Map::new();
        fields.insert("content".to_owned(), Value::from(content.clone()));
        // What is refused was not accepted; a full outbox would be one.
        if store.put(&id, fields).await.is_ok() {
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            told.accepted.entry(id).or_default().push(content);
        }
    }
}

fn content_of(fields: &Map<String, Value>) -> String {
    let content = fields.get("content").and_then(Value::as_str);
    content.unwrap_or_default().to_owned()
}

/// Everybody who writes in a scenario.
#[derive(Debug)]
pub struct Crew {
    /// Clients in this process.
    pub devices: Vec<Device>,
    /// One in a process of its own.
    pub outsider: Outsider,
    _folder: TempDir,
}

impl Crew {
    /// So many clients, and one in a process of its own; all are synced and write when this returns.
    ///
    /// # Panics
    ///
    /// When they do not get there.
    pub async fn board(devices: usize, way: &Way<'_>) -> Self {
        let folder = TempDir::new().unwrap_or_else(|error| panic!("a folder: {error}"));
        let names = (0..devices).map(|number| format!("device-{number}"));
        let mut devices = Vec::new();
        for name in names {
            devices.push(Device::start(&name, folder.path(), way).await);
        }
        let mut outsider = Outsider::start(way, folder.path());
        for device in &devices {
            let synced = |status: &Status| status.state == SyncState::Synced;
            crate::reach(&device.client, "synced at first", SETTLE_WITHIN, synced).await;
            device.write();
        }
        outsider.write();
        Self {
            devices,
            outsider,
            _folder: folder,
        }
    }

    /// Ends a client and starts it again, as an app does.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn restart(&self, device: usize) {
        let device = &self.devices[device];
        device.told().restarts += 1;
        let client = &device.client;
        client.stop().await;
        if let Err(error) = client.start() {
            panic!("{error}");
        }
    }

    /// Nobody writes from now on.
    pub async fn hush(&mut self) {
        for device in &self.devices {
            device.hush().await;
        }
        self.outsider.hush();
    }

    /// Waits until every client is synced on a stream with nothing left to send; how long each took, from
    /// now on.
    ///
    /// # Panics
    ///
    /// When one does not get there.
    pub async fn recover(&self) -> Vec<Duration> {
        let begun = Instant::now();
        let mut took = Vec::new();
        for device in &self.devices {
            let back = |s: &Status| s.state == SyncState::Synced && s.link == Link::Stream;
            device.sends_all(SETTLE_WITHIN, back).await;
            // Looked at one after the other: each counts from its own status.
            let pages = device.pages();
            let back = |page: &&Page| back(&page.status) && page.status.pending == 0;
            let since = pages.iter().rev().take_while(back);
            let at = since.last().map_or_else(Instant::now, |page| page.at);
            took.push(at.saturating_duration_since(begun));
        }
        took
    }

    /// Compares what was accepted with what the server has, and that with what every client has.
    ///
    /// # Panics
    ///
    /// When they differ.
    pub async fn settle(self, server: &crate::servers::Postgres) -> Audit {
        let mut accepted = self.outsider.settle().await;
        for device in &self.devices {
            accepted.extend(device.accepted());
        }
        let audit = Audit::of(server, &accepted).await;
        for device in &self.devices {
            device.has_all_of(&audit).await;
        }
        audit
    }
}

/// What became of the writes.
#[derive(Debug)]
pub struct Audit {
    /// Writes that the clients accepted.
    pub accepted: usize,
    /// Records whose last accepted content the server does not have, with what it has.
    pub lost: Vec<String>,
    /// Operations that were applied more than once.
    pub doubled: Vec<String>,
    /// By user and id: version and content.
    records: BTreeMap<String, BTreeMap<String, (u64, String)>>,
}

impl Audit {
    /// Compares what was accepted, of any user, with what the server has.
    ///
    /// # Panics
    ///
    /// When it cannot be asked.
    pub async fn of(server: &crate::servers::Postgres, accepted: &Accepted) -> Self {
        let rows = server
            .sql("SELECT id, version, body, owner FROM evenkeel.notes WHERE NOT deleted")
            .await;
        let mut records = BTreeMap::<String, BTreeMap<_, _>>::new();
        for row in rows {
            let body: Value = serde_json::from_str(row.get(2)).unwrap_or_default();
            let content = body["content"].as_str().unwrap_or_default().to_owned();
            let version = u64::try_from(row.get::<_, i64>(1)).unwrap_or_default();
            let own = records.entry(row.get(3)).or_default();
            own.insert(row.get(0), (version, content));
        }
        // Ids are made so that no two users share one.
        let lost = accepted.iter().filter_map(|(id, contents)| {
            let there = records.values().find_map(|own| own.get(id));
            let (there, last) = (there.map(|(_, content)| content), contents.last());
            (there != last).then(|| format!("{id}: accepted {last:?}, the server has {there:?}"))
        });
        let lost = lost.collect();
        // Each content was written once, so the log holds it once.
        let doubled = server
            .sql(
                "SELECT note_id FROM evenkeel.changes
                 GROUP BY owner, note_id, body::json->>'content' HAVING count(*) > 1
                 UNION SELECT request_id FROM evenkeel.changes
                 GROUP BY request_id HAVING count(*) > 1",
            )
            .await;
        let doubled = doubled.iter().map(|row| row.get(0)).collect();
        Self {
            accepted: accepted.values().map(Vec::len).sum(),
            lost,
            doubled,
            records,
        }
    }
}

/// What must hold of every status, whatever happens: no cause without trouble, nothing asked of the user,
/// and no wait that undercuts the server or that nobody would sit out. Whether a request was stranded, as those
/// few are whose connection is reset in the moment in which they are sent (ARCHITECTURE.md).
///
/// # Panics
///
/// When it does not hold, or a cause shows that is not among `causes`; the second stranded request is one.
pub fn check_history(name: &str, pages: &[Page], causes: &[Cause]) -> bool {
    let resets = causes.contains(&Cause::ConnectionLost);
    let mut stranded = 0;
    let mut before = None;
    for page in pages {
        let status = &page.status;
        let degraded = status.state == SyncState::Degraded;
        assert_eq!(status.cause.is_some(), degraded, "{name}: {status:?}");
        assert_eq!(status.ask, Ask::None, "{name}: {status:?}");
        if let Some(cause) = status.cause {
            let overdue = cause == Cause::ResponseTimeout && resets && !causes.contains(&cause);
            stranded += u32::from(overdue && before != Some(cause));
            assert!(
                causes.contains(&cause) || overdue && stranded == 1,
                "{name}: {cause:?} in {status:?}, after:\n{}",
                trail(pages, page.at)
            );
        }
        if let (Some(floor), Some(next)) = (page.floor, page.next_attempt_in) {
            let early = Duration::from_millis(5);
            assert!(
                next + early >= floor,
                "{name}: undercuts {floor:?}: {page:?}"
            );
        }
        if let Some(next) = page.next_attempt_in {
            assert!(next <= WAIT_MAX, "{name}: {page:?}");
        }
        before = status.cause;
    }
    stranded > 0
}

/// What was told in the minute before.
fn trail(pages: &[Page], until: Instant) -> String {
    let near = pages
        .iter()
        .filter(|page| page.at <= until && until - page.at < MINUTE);
    let lines = near.map(|page| {
        let Status {
            state,
            link,
            cause,
            attempt,
            pending,
            ..
        } = &page.status;
        let (before, next) = (until - page.at, page.next_attempt_in);
        format!(
            "{before:?} before: {state:?} {link:?} {cause:?}, attempt {attempt}, next {next:?}, {pending} pending"
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Shorter than the defaults where the service's windows are.
fn timeouts() -> Timeouts {
    let mut timeouts = Timeouts::default();
    timeouts.silence_min = Duration::from_secs(5);
    timeouts.stream_headers = Duration::from_secs(8);
    timeouts.data = Duration::from_secs(20);
    timeouts.poll_every = Duration::from_secs(5);
    timeouts
}

const NOTES_MAX: usize = 2_000;
const MINUTE: Duration = Duration::from_secs(60);
const SETTLE_WITHIN: Duration = Duration::from_secs(150);
/// Backoff ends at 30 s, jitter at 20 s, and a spent budget fills by one in 15 s.
const WAIT_MAX: Duration = Duration::from_secs(65);
