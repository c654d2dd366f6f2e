//! The thread that owns the database: one job after the other, each one transaction.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use evenkeel_proto::engine::Backlog;
use rusqlite::{Connection, TransactionBehavior};
use tokio::runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::error::{OpenError, StoreError};
use super::handle::WriteHandle;
use super::lease::{self, Held, Standing};
use super::rows::{self, News, Session};
use super::schema::{self, Check};
use super::sync::Pace;
use super::types::{StoreOptions, Verdict};
use super::verdicts::Waiters;
use super::write::Written;
use crate::changes::Change;
use crate::guard::locked;
use crate::replica::{Hold, ReplicaError, ReplicaSignal};

pub(super) type Job = Box<dyn FnOnce(&mut Worker) + Send>;

/// What handles may look at without asking the thread.
#[derive(Debug, Default)]
pub(super) struct Common {
    pub(super) backlog: Mutex<Backlog>,
    pub(super) signal: Mutex<Option<ReplicaSignal>>,
    /// Told when a pull ended with nothing more to pull.
    pub(super) caught_up: watch::Sender<()>,
    /// Counts up when something in the database changed, by whomever. While somebody listens (look
    /// at the store once after having begun to), other processes' changes are noticed within
    /// [`LOOK_EVERY`].
    pub(super) touched: watch::Sender<u64>,
    /// Whether this process holds the lease.
    pub(super) held: watch::Sender<bool>,
    /// The status that the other processes shall see, until it is written.
    pub(super) status: Mutex<Option<String>>,
    /// The last question of another process that this one, as the holder, knows of.
    pub(super) asked: AtomicI64,
    /// The last one that it has answered.
    pub(super) answered: AtomicI64,
    /// The client is about to be suspended.
    pub(super) interrupted: AtomicBool,
}

pub(super) struct Worker {
    /// `None` while the store is suspended, and once it is closed.
    db: Option<Connection>,
    suspended: bool,
    standing: Standing,
    path: PathBuf,
    account_id: String,
    options: StoreOptions,
    pace: Pace,
    /// What SQLite calls the state of the file; another value means that another process wrote. `None`
    /// where that was not looked at yet.
    data_version: Option<i64>,
    looked_at: Instant,
    waiters: Waiters,
    common: Arc<Common>,
}

/// Opens the store on a thread of its own, which ends with the last sender.
pub(super) async fn start(
    path: PathBuf,
    account_id: String,
    options: StoreOptions,
) -> Result<(mpsc::Sender<Job>, Arc<Common>), OpenError> {
    let (jobs, mut inbox) = mpsc::channel::<Job>(JOBS_WAITING_MAX);
    let (opened, opening) = oneshot::channel();
    let file = path.clone();
    let unusable = |message: String| OpenError::Unusable { path, message };
    // Only to wait with an end: jobs run outside of it.
    let clock = match runtime::Builder::new_current_thread().enable_time().build() {
        Ok(clock) => clock,
        Err(error) => return Err(unusable(error.to_string())),
    };
    let run = move || {
        let mut worker = match Worker::open(&file, &account_id, options) {
            Ok(worker) => worker,
            Err(error) => return drop(opened.send(Err(error))),
        };
        if opened.send(Ok(Arc::clone(&worker.common))).is_err() {
            return;
        }
        loop {
            let next = match worker.look_at() {
                Some(at) => clock.block_on(async { timeout_at(at, inbox.recv()).await }),
                None => Ok(inbox.blocking_recv()),
            };
            let job: Job = match next {
                Ok(Some(job)) => job,
                Ok(None) => break,
                Err(_elapsed) => Box::new(Worker::look),
            };
            // A transaction that unwinds is rolled back; whoever asked sees the answer missing.
            if catch_unwind(AssertUnwindSafe(|| job(&mut worker))).is_err() {
                tracing::error!(target: "evenkeel", "the store panicked");
            }
        }
        worker.close();
    };
    let thread = thread::Builder::new().name("evenkeel-store".into());
    if let Err(error) = thread.spawn(run) {
        return Err(unusable(error.to_string()));
    }
    match opening.await {
        Ok(opened) => opened.map(|common| (jobs, common)),
        Err(_) => Err(unusable("opening it panicked".into())),
    }
}

impl Worker {
    fn open(
        path: &std::path::Path,
        account_id: &str,
        options: StoreOptions,
    ) -> Result<Self, OpenError> {
        let db = schema::open(path, account_id, &options, Check::Whole)?;
        let corrupt = |error: StoreError| OpenError::Corrupt {
            message: error.to_string(),
        };
        // In this order: what comes in between is noticed.
        let data_version = data_version(&db).map_err(corrupt)?;
        let counts = rows::counts(&db).map_err(corrupt)?;
        let common = Arc::new(Common::default());
        *locked(&common.backlog) = counts.backlog(&options);
        Ok(Self {
            db: Some(db),
            suspended: false,
            standing: Standing::new(path),
            path: path.to_owned(),
            account_id: account_id.to_owned(),
            options,
            pace: Pace::default(),
            data_version: Some(data_version),
            looked_at: Instant::now(),
            waiters: Waiters::default(),
            common,
        })
    }

    /// Reads, all of it at one moment of the database.
    pub(super) fn read<T>(
        &mut self,
        work: impl FnOnce(&Session<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let tx = opened(&mut self.db, self.suspended)?.transaction()?;
        if schema::owner(&tx)?.as_ref() != Some(&self.account_id) {
            drop(tx);
            self.close();
            return Err(StoreError::Closed);
        }
        let me = &self.standing.me;
        work(&session(&tx, &self.options, me, &self.common.interrupted))
    }

    /// When to look next for what other processes did; `None` while nobody would be told.
    fn look_at(&mut self) -> Option<Instant> {
        self.db.as_ref()?;
        let listeners = self.common.touched.receiver_count() > 0;
        let client = locked(&self.common.signal).clone();
        let client = client.is_some_and(|client| client.is_heard());
        let watched = listeners || client || self.waiters.are_there();
        watched.then(|| self.looked_at + LOOK_EVERY)
    }

    /// Finds out whether another process wrote, and passes that on. Touches no disk where it did not.
    fn look(&mut self) {
        self.looked_at = Instant::now();
        let Some(db) = &self.db else {
            return;
        };
        let looked = data_version(db).and_then(|version| {
            if self.data_version != Some(version) {
                self.look_closer()?;
                // Only now: what was not seen is looked for again.
                self.data_version = Some(version);
            }
            Ok(())
        });
        if let Err(error) = looked {
            tracing::warn!(target: "evenkeel", %error, "other processes' writes were not seen");
        }
        self.keep_lease();
    }

    fn look_closer(&mut self) -> Result<(), StoreError> {
        let awaited = self.waiters.awaited();
        let (counts, lease, fates) = self.read(|session| {
            let lease = lease::row(session.db)?;
            let fates = awaited.into_iter().map(|(request_id, record_id)| {
                let fate = session.fate(&request_id, &record_id)?;
                Ok((request_id, fate))
            });
            let fates = fates.collect::<Result<Vec<_>, StoreError>>()?;
            Ok((session.counts()?, lease, fates))
        })?;
        for (request_id, fate) in fates {
            self.waiters.learn(&request_id, fate);
        }
        *locked(&self.common.backlog) = counts.backlog(&self.options);
        self.common.touched.send_modify(|count| *count += 1);
        let signal = locked(&self.common.signal).clone();
        if let Held::Ours(ours) = &mut self.standing.hold {
            if lease.epoch != ours.epoch {
                self.lose();
            } else if std::mem::replace(&mut ours.asked, lease.asked) != lease.asked {
                self.common.asked.store(lease.asked, Ordering::Relaxed);
                if let Some(signal) = &signal {
                    signal.asked();
                }
            }
        }
        if let Some(signal) = signal {
            signal.wrote(Some(Change::Elsewhere));
        }
        Ok(())
    }

    fn keep_lease(&mut self) {
        let Some(db) = &self.db else {
            return;
        };
        let kept = self.standing.lock(db);
        if let Err(error) = kept {
            tracing::debug!(target: "evenkeel", %error, "the lease is not locked yet");
        }
        self.publish_status();
    }

    /// Shows the others what the client published last. Tried again where another process is in the way.
    pub(super) fn publish_status(&mut self) {
        let (Some(db), Held::Ours(_)) = (&self.db, &self.standing.hold) else {
            return;
        };
        let status = locked(&self.common.status).take();
        let answered = self.common.answered.load(Ordering::Relaxed);
        if let Err(error) = self.standing.publish(db, status.as_deref(), answered) {
            tracing::debug!(target: "evenkeel", %error, "the status was not shown yet");
            if let Some(status) = status {
                locked(&self.common.status).get_or_insert(status);
            }
        }
    }

    /// Takes the lease if nobody has it; opens the files where the store is suspended.
    pub(super) fn hold(&mut self) -> Result<Hold, StoreError> {
        if self.suspended {
            self.reopen()?;
        }
        self.common.interrupted.store(false, Ordering::Relaxed);
        let db = opened(&mut self.db, self.suspended)?;
        let undisturbed = match self.standing.fence() {
            Some(fence) if fence.holds(db)? => Some(true),
            _ => self.standing.take(db)?,
        };
        if let Some(undisturbed) = undisturbed {
            if !undisturbed {
                // What was learned may be old.
                self.pace = Pace::default();
            }
            if let Held::Ours(ours) = &self.standing.hold {
                self.common.asked.store(ours.asked, Ordering::Relaxed);
            }
            self.common.held.send_replace(true);
            return Ok(Hold::Ours { undisturbed });
        }
        self.common.held.send_replace(false);
        let row = self.read(|session| lease::row(session.db))?;
        Ok(Hold::Theirs {
            status: row.status,
            answered: rows::unsigned(row.answered),
        })
    }

    pub(super) fn ask(&mut self) -> Result<u64, StoreError> {
        let db = opened(&mut self.db, self.suspended)?;
        lease::ask(db).map(rows::unsigned)
    }

    /// Lets the lease go.
    pub(super) fn release(&mut self) {
        self.standing.release(self.db.as_ref());
        self.common.held.send_replace(false);
    }

    /// Another process has the lease.
    fn lose(&mut self) {
        tracing::info!(target: "evenkeel", "another process syncs the store");
        self.standing.hold = Held::No;
        self.common.held.send_replace(false);
    }

    /// Lets the lease go, and closes the files until the next hold.
    pub(super) fn suspend(&mut self) {
        self.release();
        if self.db.take().is_some() {
            self.suspended = true;
        }
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        let db = schema::open(&self.path, &self.account_id, &self.options, Check::No)?;
        let version = data_version(&db)?;
        self.db = Some(db);
        self.suspended = false;
        self.data_version = None;
        self.look_closer()?;
        self.data_version = Some(version);
        Ok(())
    }

    /// One transaction of the client's, if this process holds the lease or can have it.
    pub(super) fn sync<T, E: From<StoreError> + From<ReplicaError>>(
        &mut self,
        work: impl FnOnce(&mut Session<'_>, &mut Pace) -> Result<T, E>,
    ) -> Result<T, E> {
        if let Held::Unasked = self.standing.hold {
            self.hold()?;
        }
        // The check is part of the transaction.
        let Some(fence) = self.standing.fence() else {
            return Err(ReplicaError::LeaseLost.into());
        };
        let mut lost = false;
        let done = self.transact(|session, pace| {
            lost = !fence.holds(session.db)?;
            if lost {
                return Err(ReplicaError::LeaseLost.into());
            }
            work(session, pace)
        });
        if lost {
            self.lose();
        }
        done
    }

    /// One transaction.
    pub(super) fn transact<T, E: From<StoreError>>(
        &mut self,
        work: impl FnOnce(&mut Session<'_>, &mut Pace) -> Result<T, E>,
    ) -> Result<T, E> {
        let (done, news) = self.commit(work)?;
        self.publish(news);
        Ok(done)
    }

    /// A local write: one transaction, and a handle to wait for what becomes of it.
    pub(super) fn write(
        &mut self,
        work: impl FnOnce(&mut Session<'_>) -> Result<Written, StoreError>,
    ) -> Result<WriteHandle, StoreError> {
        let (written, news) = self.commit(|session, _| work(session))?;
        let handle = match written {
            Written::Done { version } => WriteHandle::done(Verdict::Acknowledged { version }),
            Written::Queued {
                request_id,
                record_id,
            } => {
                let (verdict, handle) = WriteHandle::waiting();
                self.waiters.add(request_id, record_id, verdict);
                handle
            }
        };
        self.publish(news);
        Ok(handle)
    }

    /// Ends the store for all handles; waiting verdicts never come.
    pub(super) fn close(&mut self) {
        self.release();
        self.waiters.clear();
        self.db = None;
        self.suspended = false;
        self.common.touched.send_modify(|count| *count += 1);
    }

    /// Deletes everything, down to the bytes in the file, and closes the store.
    pub(super) fn wipe(&mut self) -> Result<(), StoreError> {
        self.transact(|session, _| {
            let tables = [
                "records",
                "outbox",
                "conflicts",
                "parked",
                "merges",
                "verdicts",
            ];
            for table in tables {
                session.db.execute(&format!("DELETE FROM {table}"), [])?;
            }
            let sql = "UPDATE meta SET account_id = NULL, cursor = NULL, settled = 0, bootstrapped_ms = NULL";
            session.db.execute(sql, [])?;
            session.db.execute("UPDATE lease SET status = NULL", [])?;
            session.news.wrote = true;
            Ok::<_, StoreError>(())
        })?;
        if let Some(db) = &self.db {
            // What was deleted is gone already; these two only take its traces out of the files.
            let shrunk = db.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)");
            if let Err(error) = shrunk {
                tracing::warn!(target: "evenkeel", %error, "the wiped store was not shrunk");
            }
        }
        self.close();
        Ok(())
    }

    fn commit<T, E: From<StoreError>>(
        &mut self,
        work: impl FnOnce(&mut Session<'_>, &mut Pace) -> Result<T, E>,
    ) -> Result<(T, News), E> {
        let sqlite = |error: rusqlite::Error| E::from(StoreError::from(error));
        let db = opened(&mut self.db, self.suspended)?;
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate);
        let tx = tx.map_err(sqlite)?;
        if schema::owner(&tx).map_err(sqlite)?.as_ref() != Some(&self.account_id) {
            drop(tx);
            self.close();
            return Err(StoreError::Closed.into());
        }
        let mut pace = self.pace;
        let me = &self.standing.me;
        let mut session = session(&tx, &self.options, me, &self.common.interrupted);
        let done = work(&mut session, &mut pace)?;
        let news = session.news;
        let counts = rows::counts(&tx)?;
        tx.commit().map_err(sqlite)?;
        self.pace = pace;
        *locked(&self.common.backlog) = counts.backlog(&self.options);
        Ok((done, news))
    }

    fn publish(&mut self, news: News) {
        self.common.touched.send_modify(|count| *count += 1);
        for (from, to) in news.moved {
            self.waiters.follow(&from, to);
        }
        for (request_id, verdict) in news.verdicts {
            self.waiters.tell(&request_id, &verdict);
        }
        let signal = locked(&self.common.signal).clone();
        let Some(signal) = signal else {
            return;
        };
        if news.wrote && news.local.is_empty() {
            signal.wrote(None);
        }
        for change in news.local.into_iter().chain(news.merged) {
            signal.wrote(Some(change));
        }
    }
}

fn data_version(db: &Connection) -> Result<i64, StoreError> {
    let mut statement = db.prepare_cached("PRAGMA data_version")?;
    Ok(statement.query_row([], |row| row.get(0))?)
}

fn opened(db: &mut Option<Connection>, suspended: bool) -> Result<&mut Connection, StoreError> {
    db.as_mut().ok_or(if suspended {
        StoreError::Suspended
    } else {
        StoreError::Closed
    })
}

fn session<'a>(
    db: &'a Connection,
    options: &'a StoreOptions,
    me: &'a str,
    interrupted: &'a AtomicBool,
) -> Session<'a> {
    Session {
        db,
        options,
        me,
        now_ms: rows::signed(options.wall_clock.unix_ms()),
        interrupted,
        news: News::default(),
    }
}

/// Callers beyond these wait for their turn.
const JOBS_WAITING_MAX: usize = 256;
/// How often other processes' writes are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);
