//! Which of the processes that have the store open syncs it.
//!
//! The lease is a row, and every transaction of its holder checks it. Whether a holder is still there
//! is not written into the database each second, for the flash's sake: the holder has a lock on a file
//! beside it, which the system takes from a process that dies, and sets that file's time each second,
//! which a frozen process does not. Nobody reads or writes the file's bytes: on Windows the lock would
//! forbid it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use evenkeel_proto::Timestamp;
use rusqlite::{Connection, params};

use super::error::StoreError;
use crate::clock;

/// This open store's part in it.
#[derive(Debug)]
pub(super) struct Standing {
    path: PathBuf,
    /// Names this open store.
    pub(super) me: Arc<str>,
    pub(super) hold: Held,
    /// The last epoch that was ours.
    last: Option<i64>,
    beats: Beats,
}

#[derive(Debug)]
pub(super) enum Held {
    /// Never asked for: whoever syncs without a client takes it by doing so.
    Unasked,
    Ours(Ours),
    /// Another process's, or nobody's.
    No,
}

#[derive(Debug)]
pub(super) struct Ours {
    pub(super) epoch: i64,
    /// How often others had asked for a sync when it was last looked at.
    pub(super) asked: i64,
    /// Up to which question the row says that it was answered.
    answered: i64,
    /// We have the lock too. Not so where the holder before us has it, frozen, or the filesystem
    /// knows no locks.
    locked: bool,
    _pulse: Pulse,
    file: Arc<File>,
}

impl Drop for Ours {
    fn drop(&mut self) {
        // The thread may keep the file open a moment longer.
        if self.locked {
            let _ = self.file.unlock();
        }
    }
}

/// What the lease must still be.
pub(super) struct Fence {
    epoch: i64,
    me: Arc<str>,
}

impl Fence {
    pub(super) fn holds(&self, db: &Connection) -> Result<bool, StoreError> {
        let row = row(db)?;
        Ok(row.epoch == self.epoch && row.holder.as_deref() == Some(&*self.me))
    }
}

/// The row.
pub(super) struct Row {
    pub(super) epoch: i64,
    pub(super) holder: Option<String>,
    locked: bool,
    pub(super) status: Option<String>,
    pub(super) asked: i64,
    pub(super) answered: i64,
}

/// What became of trying to lock the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lock {
    Got,
    Elsewhere,
    /// The filesystem knows no locks.
    Unknown,
}

impl Standing {
    pub(super) fn new(database: &Path) -> Self {
        let mut path = database.as_os_str().to_owned();
        path.push("-lease");
        Self {
            path: path.into(),
            me: uuid::Uuid::new_v4().to_string().into(),
            hold: Held::Unasked,
            last: None,
            beats: Beats::default(),
        }
    }

    /// Takes the lease if nobody has it. Otherwise `None`; and whether nobody else had it since it was
    /// last ours.
    pub(super) fn take(&mut self, db: &mut Connection) -> Result<Option<bool>, StoreError> {
        // A lock of ours would be in our own way.
        self.hold = Held::No;
        let file = open(&self.path).map_err(unusable)?;
        let lock = match file.try_lock() {
            Ok(()) => Lock::Got,
            Err(TryLockError::WouldBlock) => Lock::Elsewhere,
            Err(TryLockError::Error(error)) => {
                tracing::debug!(target: "evenkeel", %error, "the lease cannot be locked");
                Lock::Unknown
            }
        };
        let file = Arc::new(file);
        let beat = file.metadata().and_then(|meta| meta.modified());
        let before = row(db)?;
        let mark = (before.epoch, beat.map_err(unusable)?);
        let silent = self.beats.silent(mark, clock::now());
        let free = |row: &Row| match (&row.holder, lock) {
            (_, _) if silent && row.epoch == before.epoch => true,
            // We let it go, and could not write that.
            (Some(holder), _) if **holder == *self.me => true,
            (None, Lock::Got | Lock::Unknown) => true,
            // It had the lock, and would have it still.
            (Some(_), Lock::Got) => row.locked,
            // Somebody is about to take it, or sleeps with the lock in hand.
            _ => false,
        };
        if !free(&before) {
            return Ok(None);
        }
        // Whoever gets the lease must be able to keep it.
        let pulse = Pulse::start(Arc::clone(&file)).map_err(unusable)?;
        let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let now = row(&tx)?;
        if !free(&now) {
            return Ok(None);
        }
        let epoch = now.epoch + 1;
        let locked = lock == Lock::Got;
        let sql = "UPDATE lease SET epoch = ?1, holder = ?2, locked = ?3, status = NULL";
        tx.execute(sql, params![epoch, self.me, locked])?;
        tx.commit()?;
        tracing::debug!(target: "evenkeel", epoch, locked, "this process syncs the store");
        let undisturbed = self.last.replace(epoch) == Some(now.epoch);
        self.beats = Beats::default();
        self.hold = Held::Ours(Ours {
            epoch,
            asked: now.asked,
            answered: now.answered,
            locked,
            _pulse: pulse,
            file,
        });
        Ok(Some(undisturbed))
    }

    /// Lets the lease go. Where that cannot be written the lock tells it.
    pub(super) fn release(&mut self, db: Option<&Connection>) {
        if let (Held::Ours(ours), Some(db)) = (&self.hold, db) {
            let sql = "UPDATE lease SET holder = NULL, locked = 0, status = NULL \
                       WHERE epoch = ?1 AND holder = ?2";
            let released = briefly(db, || db.execute(sql, params![ours.epoch, self.me]));
            if let Err(error) = released {
                tracing::debug!(target: "evenkeel", %error, "the lease was let go unwritten");
            }
        }
        self.hold = Held::No;
        self.beats = Beats::default();
    }

    /// What a transaction has to check; `None` without the lease.
    pub(super) fn fence(&self) -> Option<Fence> {
        match &self.hold {
            Held::Ours(ours) => Some(Fence {
                epoch: ours.epoch,
                me: Arc::clone(&self.me),
            }),
            _ => None,
        }
    }

    /// Gets the lock as soon as it can be had, where the lease was taken without.
    pub(super) fn lock(&mut self, db: &Connection) -> Result<(), StoreError> {
        let Held::Ours(ours) = &mut self.hold else {
            return Ok(());
        };
        if ours.locked || ours.file.try_lock().is_err() {
            return Ok(());
        }
        ours.locked = true;
        let sql = "UPDATE lease SET locked = 1 WHERE epoch = ?1 AND holder = ?2";
        briefly(db, || db.execute(sql, params![ours.epoch, self.me]))?;
        Ok(())
    }

    /// Shows the others a status where there is a new one, and which question was answered.
    pub(super) fn publish(
        &mut self,
        db: &Connection,
        status: Option<&str>,
        answered: i64,
    ) -> Result<(), StoreError> {
        let Held::Ours(ours) = &mut self.hold else {
            return Ok(());
        };
        if status.is_none() && answered <= ours.answered {
            return Ok(());
        }
        let sql = "UPDATE lease SET status = coalesce(?3, status), answered = max(answered, ?4) \
                   WHERE epoch = ?1 AND holder = ?2";
        let (epoch, me) = (ours.epoch, &self.me);
        unhurried(db, || db.execute(sql, params![epoch, me, status, answered]))?;
        ours.answered = ours.answered.max(answered);
        Ok(())
    }
}

pub(super) fn row(db: &Connection) -> Result<Row, StoreError> {
    let sql = "SELECT epoch, holder, locked, status, asked, answered FROM lease";
    let mut statement = db.prepare_cached(sql)?;
    Ok(statement.query_row([], |row| {
        Ok(Row {
            epoch: row.get(0)?,
            holder: row.get(1)?,
            locked: row.get(2)?,
            status: row.get(3)?,
            asked: row.get(4)?,
            answered: row.get(5)?,
        })
    })?)
}

/// Does what can be left undone without waiting long for others.
fn briefly<T>(db: &Connection, work: impl FnOnce() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    db.busy_timeout(BRIEFLY)?;
    let done = work();
    db.busy_timeout(super::schema::BUSY_MAX)?;
    done
}

/// Asks the holder to sync; the question's number.
pub(super) fn ask(db: &Connection) -> Result<i64, StoreError> {
    let sql = "UPDATE lease SET asked = asked + 1 RETURNING asked";
    unhurried(db, || db.query_row(sql, [], |row| row.get(0)))
}

/// Writes what no one's data depends on, without waiting for the disk.
fn unhurried<T>(
    db: &Connection,
    work: impl FnOnce() -> rusqlite::Result<T>,
) -> Result<T, StoreError> {
    let before: i64 = db.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    db.pragma_update(None, "synchronous", "NORMAL")?;
    let done = briefly(db, work);
    db.pragma_update(None, "synchronous", before)?;
    Ok(done?)
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path)
}

fn unusable(error: io::Error) -> StoreError {
    StoreError::Failed {
        message: format!("the lease's file cannot be used: {error}"),
    }
}

/// What was seen of the holder, on this process's own clock: the device's may be set at any time.
#[derive(Debug, Default)]
struct Beats {
    mark: Option<(i64, SystemTime)>,
    since: Timestamp,
    looked_at: Timestamp,
}

impl Beats {
    /// Whether the holder has shown no sign of life for so long that it must be frozen. A process that
    /// did not look all the while, because it was frozen too, begins anew.
    fn silent(&mut self, mark: (i64, SystemTime), now: Timestamp) -> bool {
        if self.mark != Some(mark) || now.since(self.looked_at) > LOOK_GAP_MAX {
            self.mark = Some(mark);
            self.since = now;
        }
        self.looked_at = now;
        now.since(self.since) >= SILENCE_MAX
    }
}

/// A thread that sets the file's time each second for as long as this lives: the store's own thread
/// may be at a long transaction.
#[derive(Debug)]
struct Pulse {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Pulse {
    fn start(file: Arc<File>) -> io::Result<Self> {
        let mut last = beat(&file, None)?;
        let (stop, stopped) = mpsc::channel();
        let run = move || {
            while stopped.recv_timeout(BEAT_EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
                match beat(&file, Some(last)) {
                    Ok(time) => last = time,
                    Err(error) => {
                        tracing::warn!(target: "evenkeel", %error, "the lease's file has no time");
                    }
                }
            }
        };
        let thread = thread::Builder::new().name("evenkeel-lease".into());
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread.spawn(run)?),
        })
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It only sleeps, and was woken.
            let _ = thread.join();
        }
    }
}

/// Any time does that is not the last one: nobody's clock has to be right.
fn beat(file: &File, last: Option<SystemTime>) -> io::Result<SystemTime> {
    let mut time = SystemTime::now();
    if last.is_some_and(|last| {
        time.duration_since(last)
            .is_ok_and(|since| since < TIME_STEP)
    }) {
        time += TIME_STEP;
    }
    file.set_modified(time)?;
    Ok(time)
}

const BEAT_EVERY: Duration = Duration::from_secs(1);
/// The coarsest times that a filesystem keeps.
const TIME_STEP: Duration = Duration::from_secs(2);
/// A holder that does not set the file's time for so long has lost the lease.
const SILENCE_MAX: Duration = Duration::from_secs(6);
/// Looks that are further apart than this prove nothing.
const LOOK_GAP_MAX: Duration = Duration::from_secs(2);
const BRIEFLY: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn only_a_holder_that_was_watched_all_the_while_is_found_silent() {
        let (one, two) = (SystemTime::UNIX_EPOCH, SystemTime::now());
        let mut beats = Beats::default();
        for ms in (100_000..106_000).step_by(500) {
            assert!(!beats.silent((1, one), at(ms)), "{ms}");
        }
        assert!(beats.silent((1, one), at(106_000)));
        // A beat, whichever way the clock went, or another holder.
        assert!(!beats.silent((1, two), at(106_500)));
        assert!(!beats.silent((1, one), at(107_000)));
        assert!(!beats.silent((2, one), at(107_500)));
        // The watcher itself slept.
        assert!(!beats.silent((2, one), at(120_000)));
        assert!(!beats.silent((2, one), at(121_000)));
    }

    #[test]
    fn every_beat_changes_the_files_time() {
        let dir = tempfile::tempdir().unwrap();
        let file = open(&dir.path().join("lease")).unwrap();
        let mut last = None;
        for _ in 0..5 {
            last = Some(beat(&file, last).unwrap());
            let seen = file.metadata().unwrap().modified().unwrap();
            assert!(last.unwrap().duration_since(seen).unwrap() < Duration::from_micros(1));
        }
    }
}
