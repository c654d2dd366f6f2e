//! The pull lane: pages until empty, an overlap for late commits, and snapshots.

use std::time::Duration;

use super::lane::LaneId;
use super::timers::Timer;
use super::{Engine, Output, Pulled, RequestId};
use crate::cause::Cause;
use crate::failure::{Failure, Request};
use crate::time::Timestamp;
use crate::wire::Cursor;

#[derive(Clone, Debug)]
pub(super) struct Pull {
    /// How far the replica has come.
    pub(super) cursor: Option<Cursor>,
    /// Below or at this cursor nothing can be committed late any more.
    settled: Cursor,
    /// What will be settled once the overlap has been read again; its timer is armed.
    settling: Option<Cursor>,
    /// Pages have to be read until one is empty.
    pub(super) full: bool,
    /// The overlap has to be read again.
    settle: bool,
    /// The overlap reaches no further back than the first of these two, `MARK_CHANGES` apart at least.
    marks: [Cursor; 2],
    /// How many changes have come since the second.
    since_mark: u32,
    /// Where the pages being read go on, and whether they began with the overlap.
    chain: Option<(Cursor, bool)>,
    look: Option<Look>,
    /// The app asked for news: they do not wait for the stream.
    pub(super) urgent: bool,
    /// A snapshot has to be taken, resuming at that cursor.
    snapshot: Option<Option<Cursor>>,
    /// Snapshots in a row that did not lead to a sound page.
    resets: u8,
    /// Rises with every event after which `synced` has to be proven anew.
    pub(super) need: u32,
    /// The `need` that the last finished chain answered.
    pub(super) proved: u32,
    /// The `need` when the request under way was sent, and where it reads from.
    asked: (u32, Cursor),
    /// Cursors announced lately, so that repetitions cost nothing.
    seen: [Cursor; 4],
    seen_count: u8,
}

/// A cursor below ours was announced, or nobody looked for a while: a late commit, or a database restored from a
/// backup?
#[derive(Clone, Copy, Debug)]
struct Look {
    from: Cursor,
    /// From where on it has to be read, where the log does not reach back to `from`.
    nearest: Cursor,
    /// The highest cursor that the server showed since.
    head: Cursor,
}

impl Pull {
    pub(super) fn new(cursor: Option<Cursor>, settled: Cursor) -> Self {
        let settled = settled.min(cursor.unwrap_or_default());
        let known = settled > Cursor::ZERO;
        Self {
            cursor,
            settled,
            settling: cursor.filter(|&cursor| cursor > settled),
            full: false,
            settle: false,
            marks: [if known { settled } else { before(cursor) }; 2],
            since_mark: 0,
            chain: None,
            // While nobody looked the database may have been restored, and have come beyond our cursor again.
            look: cursor.filter(|_| known).map(|cursor| Look {
                from: before(Some(cursor)),
                nearest: cursor,
                head: cursor,
            }),
            urgent: false,
            snapshot: None,
            resets: 0,
            need: 0,
            proved: 0,
            asked: (0, Cursor::ZERO),
            seen: [Cursor::ZERO; 4],
            seen_count: 0,
        }
    }

    /// Whether there is anything to ask for. Pages under way, a look and a snapshot belong to one of the two.
    pub(super) fn wanted(&self) -> bool {
        self.full || self.settle
    }

    fn start(&self) -> Cursor {
        let from = match self.settle {
            true => self.overlap(),
            false => self.cursor.unwrap_or_default(),
        };
        self.look.map_or(from, |look| look.from.min(from))
    }

    /// Where reading again begins: what came since the last time that everything was settled, and of a long
    /// download its end. Numbers say nothing of how long ago they were taken: they are handed out to all users.
    fn overlap(&self) -> Cursor {
        self.settled.max(self.marks[0])
    }

    /// Changes have come, up to our cursor.
    fn count(&mut self, changes: u32) {
        self.since_mark = self.since_mark.saturating_add(changes);
        if self.since_mark >= MARK_CHANGES {
            self.marks = [self.marks[1], self.cursor.unwrap_or_default()];
            self.since_mark = 0;
        }
    }

    /// The log does not reach that far back any more: half-way first, then not at all.
    fn shorten_overlap(&mut self, from: Cursor, ours: Cursor) {
        let near = Cursor(ours.0.saturating_sub(OVERLAP_MIN));
        self.settled = if from < near { near } else { ours };
        self.full = true;
    }

    /// Numbers announced on another stream say nothing about this one's.
    pub(super) fn forget_seen(&mut self) {
        self.seen = [Cursor::ZERO; 4];
    }

    fn look_below(&mut self, announced: Cursor) {
        // The number is the highest of a batch; the others lie somewhere below it.
        let nearest = Cursor(announced.0.saturating_sub(1));
        let from = before(Some(nearest)).min(self.overlap());
        match &mut self.look {
            Some(look) => {
                look.from = look.from.min(from);
                look.nearest = look.nearest.min(nearest);
            }
            None => {
                self.look = Some(Look {
                    from,
                    nearest,
                    head: nearest,
                });
            }
        }
        // Pages already under way began above it.
        self.chain = None;
    }

    fn note_seen(&mut self, cursor: Cursor) -> bool {
        let known = self.seen.contains(&cursor);
        if !known {
            let slot = usize::from(self.seen_count) % self.seen.len();
            self.seen[slot] = cursor;
            self.seen_count = self.seen_count.wrapping_add(1);
        }
        known
    }
}

impl Engine {
    pub(super) fn advance_pull(&mut self, now: Timestamp) {
        let awaits = self.timers.armed(Timer::AwaitStream) || self.snapshot_waits();
        if self.pull.wanted() && !awaits && self.lane_ready(LaneId::Pull) && self.in_pace(now) {
            self.begin_pull(now);
        }
    }

    /// A push's answer that is older than the snapshot could bring back what was deleted in between: neither goes out
    /// while the other is under way.
    pub(super) fn snapshot_waits(&self) -> bool {
        self.pull.snapshot.is_some() && self.lanes[LaneId::Push as usize].flight.is_some()
    }

    pub(super) fn begin_pull(&mut self, now: Timestamp) -> RequestId {
        self.pull.urgent = false;
        if let Some(resume) = self.pull.snapshot {
            let id = self.begin(now, LaneId::Pull, Request::Snapshot);
            self.outputs.push_back(Output::Snapshot { id, resume });
            return id;
        }
        let id = self.begin(now, LaneId::Pull, Request::Pull);
        let first = (self.pull.start(), self.pull.settle);
        let (from, overlap) = *self.pull.chain.get_or_insert(first);
        self.pull.asked = (self.pull.need, from);
        let settles = self.pull.settling.filter(|_| overlap);
        self.outputs.push_back(Output::Pull { id, from, settles });
        id
    }

    /// From now on `synced` needs a pull that begins after this moment.
    pub(super) fn need_proof(&mut self) {
        self.pull.need = self.pull.need.wrapping_add(1);
        self.pull.full = true;
    }

    pub(super) fn announced(&mut self, cursor: Cursor) {
        let known = self.pull.note_seen(cursor);
        let ours = self.pull.cursor.unwrap_or_default();
        if cursor > ours {
            self.need_proof();
        } else if cursor < ours && !known {
            self.pull.look_below(cursor);
            self.need_proof();
        }
    }

    pub(super) fn on_pulled(
        &mut self,
        now: Timestamp,
        id: RequestId,
        result: Result<Pulled, Failure>,
    ) {
        let Some(flight) = self.take_flight(LaneId::Pull, id) else {
            return;
        };
        let verdict = result.and_then(|page| self.check(page).map(|()| page));
        match verdict {
            Ok(page) => {
                self.succeed(now, LaneId::Pull, flight);
                self.apply(now, page);
            }
            Err(failure) => self.fail(now, LaneId::Pull, flight, &failure),
        }
    }

    /// Pages that would keep us asking for ever are no pages.
    fn check(&self, page: Pulled) -> Result<(), Failure> {
        let (_, from) = self.pull.asked;
        if page.reset_required && self.pull.resets >= RESETS_MAX {
            return Err(Failure::local(
                Cause::BadResponse,
                "the service asks for one snapshot after the other",
            ));
        }
        if !page.reset_required && page.changes > 0 && page.next <= from {
            return Err(Failure::local(
                Cause::BadResponse,
                "a page of changes does not lead beyond its own cursor",
            ));
        }
        Ok(())
    }

    fn apply(&mut self, now: Timestamp, page: Pulled) {
        let (asked_need, from) = self.pull.asked;
        let ours = self.pull.cursor;
        if page.reset_required {
            self.pull.chain = None;
            if let Some(look) = &mut self.pull.look
                && from < look.nearest
                && ours.is_some_and(|ours| page.next == Cursor::ZERO || page.next >= ours)
            {
                look.from = look.nearest;
                if let Some(ours) = ours.filter(|_| self.pull.overlap() <= from) {
                    // Both began there, and neither can be read from there again.
                    self.pull.shorten_overlap(from, ours);
                }
                return;
            }
            self.pull.look = None;
            let head = (page.next > Cursor::ZERO).then_some(page.next);
            match ours.filter(|&ours| from < ours && head.is_none_or(|head| head >= ours)) {
                Some(ours) => self.pull.shorten_overlap(from, ours),
                None => self.pull.snapshot = Some(head),
            }
            return;
        }
        let fell = page.next > Cursor::ZERO && page.next < from;
        if !fell && Some(from) >= ours {
            self.pull.resets = 0;
        }
        if let Some(look) = &mut self.pull.look {
            look.head = look.head.max(page.next);
        }
        if page.changes == 0 {
            let end = page.next.max(from);
            let at_start = |look: Look| Some(look.nearest) >= ours;
            if Some(end) < ours && self.pull.look.is_some_and(at_start) {
                // What came last was looked at, and the log ends before our cursor: what does it say to that one?
                self.pull.look = None;
                self.pull.chain = None;
                return;
            }
            if fell && !self.pull.note_seen(page.next) {
                // The server's own head lies below what we asked for.
                self.pull.look_below(page.next);
            }
            self.move_to(now, end);
            self.finish_chain(now, Some(asked_need));
            return;
        }
        if let Some((next, _)) = &mut self.pull.chain {
            *next = page.next;
        }
        let moved = self.move_to(now, page.next);
        if Some(from) >= ours {
            self.pull.count(page.changes);
        }
        if !moved && !self.pull.full && self.pull.look.is_none() && Some(page.next) == ours {
            // The overlap was read again, and that is all that was wanted.
            self.finish_chain(now, None);
        }
    }

    /// Takes over a cursor beyond ours; says whether it was one.
    fn move_to(&mut self, now: Timestamp, cursor: Cursor) -> bool {
        let first = self.pull.cursor.is_none();
        let beyond = cursor > self.pull.cursor.unwrap_or_default();
        if beyond && self.pull.settling.is_none() {
            self.pull.settling = Some(cursor);
            self.settle_later(now);
        }
        if beyond || first {
            self.pull.cursor = Some(cursor);
        }
        beyond
    }

    /// The last page was read; `covers` is what it proves.
    fn finish_chain(&mut self, now: Timestamp, covers: Option<u32>) {
        let Some((_, overlap)) = self.pull.chain.take() else {
            // A look began meanwhile, and starts a chain of its own.
            return;
        };
        let ours = self.pull.cursor.unwrap_or_default();
        if let Some(look) = self.pull.look.take()
            && look.head < ours
            && self.pull.resets < RESETS_MAX
        {
            // Everything above is gone: the database was restored. What it holds now is the truth.
            self.pull.snapshot = Some(Some(look.head));
            return;
        }
        if overlap {
            self.pull.settle = false;
            self.pull.settled = self.pull.settling.unwrap_or(ours);
            self.pull.settling = (ours > self.pull.settled).then_some(ours);
            self.settle_later(now);
        }
        if let Some(covers) = covers {
            self.pull.proved = covers;
            self.pull.full = covers != self.pull.need;
        }
        if self.stream.is_live() && !self.pull.full {
            // The stream carries the news again, whatever becomes of pushes.
            self.stop_polling();
        } else {
            self.poll_worked(now);
        }
    }

    pub(super) fn on_snapshotted(
        &mut self,
        now: Timestamp,
        id: RequestId,
        result: Result<Cursor, Failure>,
    ) {
        let Some(flight) = self.take_flight(LaneId::Pull, id) else {
            return;
        };
        match result {
            Ok(cursor) => {
                self.succeed(now, LaneId::Pull, flight);
                self.pull.resets = self.pull.resets.saturating_add(1);
                self.pull.cursor = Some(cursor);
                // What was in the making beside the snapshot may lie below its cursor.
                self.pull.settled = Cursor::ZERO;
                self.pull.settling = Some(cursor);
                self.pull.settle = false;
                self.pull.marks = [before(Some(cursor)); 2];
                self.pull.since_mark = 0;
                self.settle_later(now);
                self.pull.snapshot = None;
                self.pull.full = true;
            }
            Err(failure) => self.fail(now, LaneId::Pull, flight, &failure),
        }
    }

    /// Reads the overlap again once whatever was in the making has been committed.
    pub(super) fn settle_later(&mut self, now: Timestamp) {
        match self.pull.settling {
            Some(_) => self.timers.arm(Timer::Settle, now + LATE_COMMIT),
            None => self.timers.stop(Timer::Settle),
        }
    }

    pub(super) fn on_settle(&mut self) {
        self.pull.settle = true;
    }

    pub(super) fn on_poll(&mut self) {
        self.pull.full = true;
    }

    pub(super) fn on_pull_watch(&mut self, now: Timestamp, due: Timestamp) {
        if let Some((flight, late)) = self.give_up(now, LaneId::Pull, due) {
            self.fail(now, LaneId::Pull, flight, &late);
        }
    }

    /// The request under way was given up; its pages are read anew.
    pub(super) fn reset_pull(&mut self) {
        self.pull.chain = None;
    }
}

fn before(cursor: Option<Cursor>) -> Cursor {
    Cursor(cursor.unwrap_or_default().0.saturating_sub(NEAR))
}

/// The longest time that a transaction is expected to hold a number before it commits.
const LATE_COMMIT: Duration = Duration::from_secs(10);
/// Of a long download so many changes are read again at least, and about twice as many at most: ten full
/// batches that are pushed at once.
const MARK_CHANGES: u32 = 1_000;
/// How far below a number those that were taken with it, or just before, are looked for.
const NEAR: u64 = 500;
/// How far where the log has been pruned closer than that.
const OVERLAP_MIN: u64 = 16;
const RESETS_MAX: u8 = 2;
