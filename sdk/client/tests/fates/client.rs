//! One client: the real engine, the real store, and what stays when the process is killed.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use evenkeel::Replica;
use evenkeel::store::{Durability, SqliteStore, StoreOptions, Verdict, WallClock, WriteHandle};
use evenkeel_proto::Timestamp;
use evenkeel_proto::engine::{Config, Engine, RequestId};

use crate::ghost::Ghost;

pub(crate) struct Client {
    pub(crate) me: usize,
    home: PathBuf,
    /// How often it was started; names its file, and tells answers to an earlier life.
    pub(crate) lives: u32,
    pub(crate) life: Option<Life>,
    pub(crate) ghost: Ghost,
    /// It has a network.
    pub(crate) online: bool,
    /// How many requests it sent.
    pub(crate) requests: u32,
    clock: Arc<AtomicU64>,
    clock_is_wrong_by: i64,
}

/// What a kill ends.
pub(crate) struct Life {
    pub(crate) store: SqliteStore,
    pub(crate) engine: Engine,
    /// What is under way, until it is answered or given up.
    pub(crate) flights: Vec<RequestId>,
    pub(crate) stream: Option<RequestId>,
    /// A push whose batch waits until a pull has shown what became of old operations.
    pub(crate) held: Option<RequestId>,
    /// Until when an answer is being applied: one at a time, in the order they came.
    pub(crate) applying_until: u64,
    pub(crate) handles: Vec<(u32, String, WriteHandle)>,
}

impl Client {
    pub(crate) fn new(me: usize, home: &Path, clock_is_wrong_by: i64) -> Self {
        Self {
            me,
            home: home.to_owned(),
            lives: 0,
            life: None,
            ghost: Ghost::default(),
            online: true,
            requests: 0,
            clock: Arc::default(),
            clock_is_wrong_by,
        }
    }

    pub(crate) fn set_clock(&self, now: u64) {
        let now = (WALL_ZERO_MS + now).saturating_add_signed(self.clock_is_wrong_by);
        self.clock.store(now, Ordering::SeqCst);
    }

    pub(crate) fn path(&self, life: u32) -> PathBuf {
        self.home.join(format!("{}-{life}.db", self.me))
    }

    /// Starts it, on the file that its last life left.
    pub(crate) async fn begin(&mut self, now: u64, seed: u64) {
        self.set_clock(now);
        let mut options = StoreOptions::default();
        options.durability = Durability::Fast;
        options.wall_clock = WallClock::manual(Arc::clone(&self.clock));
        let opened = SqliteStore::open(self.path(self.lives), "account", options).await;
        let store = opened.unwrap();
        let config = Config {
            seed,
            cursor: store.cursor().await.unwrap(),
            settled: store.settled().await.unwrap(),
            backlog: store.backlog(),
            ..Config::default()
        };
        self.life = Some(Life {
            engine: Engine::new(Timestamp::from_millis(now), config),
            store,
            flights: Vec::new(),
            stream: None,
            held: None,
            applying_until: 0,
            handles: Vec::new(),
        });
    }

    /// Kills the process: what it leaves is its file and that file's log as they are at this moment.
    pub(crate) async fn kill(&mut self) {
        let Some(life) = self.life.take() else {
            return;
        };
        let (from, to) = (self.path(self.lives), self.path(self.lives + 1));
        for suffix in ["", "-wal"] {
            let named = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
            if named(&from).exists() {
                std::fs::copy(named(&from), named(&to)).unwrap();
            }
        }
        self.lives += 1;
        // The old file has no part in this any more.
        life.store.close().await.unwrap();
    }

    /// Ends it in an orderly way.
    pub(crate) async fn stop(&mut self) {
        if let Some(life) = self.life.take() {
            life.store.close().await.unwrap();
            std::fs::rename(self.path(self.lives), self.path(self.lives + 1)).unwrap();
            self.lives += 1;
        }
    }
}

impl Life {
    /// The verdicts that came since.
    pub(crate) fn verdicts(&mut self) -> Vec<(u32, String, Verdict)> {
        let mut came = Vec::new();
        let mut context = Context::from_waker(Waker::noop());
        self.handles.retain_mut(|(write, id, handle)| {
            let Poll::Ready(verdict) = Pin::new(handle).poll(&mut context) else {
                return true;
            };
            came.push((*write, id.clone(), verdict.unwrap()));
            false
        });
        came
    }
}

/// A day in 2023.
const WALL_ZERO_MS: u64 = 1_700_000_000_000;
