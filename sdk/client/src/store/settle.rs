//! What becomes of an operation once its fate is known: acknowledged, merged, in conflict, parked.

use evenkeel_proto::merge::{self, Clash, Fields, Merged, reapply};
use evenkeel_proto::wire::{Record, Version};

use super::error::StoreError;
use super::rows::{Session, Waiting, Wish};
use super::types::{RejectReason, Verdict};
use crate::changes::{Change, Origin};

/// Whether two merges of one record in short order are taken for a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// The server named a conflict: two devices may be undoing each other's work for ever.
    On,
    /// Nothing was sent in between, so nothing can loop.
    Off,
}

/// What the merge of a wish with the server's side comes to.
pub(super) fn merged(wish: &Wish, theirs: Option<&Fields>) -> Result<Merged, Clash> {
    // The service writes these itself with each change: they say nothing about what the app wants.
    let strip = |fields: &Option<Fields>| {
        let mut fields = fields.clone();
        if let Some(fields) = &mut fields {
            fields.retain(|name, _| !SERVICE_FIELDS.contains(&name.as_str()));
        }
        fields
    };
    let (base, ours) = (strip(&wish.base), strip(&wish.fields));
    let bare = strip(&theirs.cloned());
    match merge::merge(base.as_ref(), ours.as_ref(), bare.as_ref())? {
        Merged::Record(mut fields) => {
            for name in SERVICE_FIELDS {
                if let Some(value) = theirs.and_then(|theirs| theirs.get(name)) {
                    fields.insert(name.to_owned(), value.clone());
                }
            }
            Ok(Merged::Record(fields))
        }
        Merged::Deleted => Ok(Merged::Deleted),
    }
}

/// Whether nothing is left to send: the server's side is what the merge comes to.
fn is_there(merged: &Merged, theirs: Option<&Fields>) -> bool {
    match merged {
        Merged::Record(fields) => theirs == Some(fields),
        Merged::Deleted => theirs.is_none(),
    }
}

/// The base of a write that followed one that was sent. What the server has of that one may be its own
/// work, so taking it back is a change like any other.
fn partly_there(sent: &Wish, theirs: Option<&Fields>) -> Option<Fields> {
    let (Some(fields), Some(theirs)) = (&sent.fields, theirs) else {
        return sent.base.clone();
    };
    let mut base = sent.base.clone().unwrap_or_default();
    for name in merge::changed_fields(&base, fields) {
        match (fields.get(&name), theirs.get(&name)) {
            (Some(ours), Some(value)) if ours == value => drop(base.insert(name, value.clone())),
            (None, None) => drop(base.shift_remove(&name)),
            _ => {}
        }
    }
    Some(base)
}

impl Session<'_> {
    /// The server has the operation, as this record where the answer told.
    pub(super) fn acknowledge(
        &mut self,
        done: &Waiting,
        server: Option<&Record>,
    ) -> Result<(), StoreError> {
        self.remove(done.seq)?;
        let next = Version(done.wish.base_version.0 + 1);
        let version = server.map_or(next, |record| record.version);
        self.tell(done, Verdict::Acknowledged { version })?;
        let Some(mut later) = self.unsent(&done.wish.id)? else {
            return Ok(());
        };
        later.wish.base_version = version;
        if let Some(server) = server {
            let live = (!server.is_deleted()).then_some(&server.fields);
            if let (Some(from), Some(to), Some(live)) =
                (&done.wish.fields, &later.wish.fields, live)
            {
                later.wish.fields = Some(reapply(from, to, live));
                self.seen(&later.wish);
            }
            later.wish.base = live.cloned();
        }
        self.keep(&later)
    }

    /// The operation is not there, or not as such: brings it together with what the server has.
    pub(super) fn meet(
        &mut self,
        mut op: Waiting,
        server: Option<&Record>,
        guard: Guard,
    ) -> Result<(), StoreError> {
        let theirs = server.filter(|record| !record.is_deleted());
        let theirs = theirs.map(|record| &record.fields);
        let alone = merged(&op.wish, theirs);
        if alone.is_ok_and(|merged| is_there(&merged, theirs)) {
            return self.acknowledge(&op, server);
        }
        let mut wish = op.wish.clone();
        self.remove(op.seq)?;
        if let Some(later) = self.unsent(&wish.id)? {
            self.remove(later.seq)?;
            self.follow(&later, &op.request_id)?;
            op.writer = self.joined(&op.writer, &later.writer);
            wish.base = partly_there(&op.wish, theirs);
            wish.fields = later.wish.fields;
            wish.updated_at = later.wish.updated_at;
        }
        let version = server.map_or(Version::ZERO, |record| record.version);
        match merged(&wish, theirs) {
            Ok(merged) if is_there(&merged, theirs) => {
                self.tell(&op, Verdict::Acknowledged { version })?;
            }
            Ok(merged) if self.may_merge(&wish.id, guard)? => {
                let by_itself = wish.base_version != version;
                wish.base_version = version;
                wish.base = theirs.cloned();
                wish.fields = match merged {
                    Merged::Record(fields) => Some(fields),
                    Merged::Deleted => None,
                };
                self.seen(&wish);
                op.writer = self.joined(&op.writer, &op.writer);
                let request_id = self.replace_op(&op, &wish, by_itself)?;
                self.follow(&op, &request_id)?;
            }
            _ => {
                self.put_in_conflict(&wish)?;
                self.tell(&op, Verdict::Conflicted)?;
            }
        }
        Ok(())
    }

    /// The server does not take the operation. A later edit carries its content on; without one it
    /// waits for the app.
    pub(super) fn give_up(&mut self, op: &Waiting, reason: RejectReason) -> Result<(), StoreError> {
        self.remove(op.seq)?;
        if let Some(mut later) = self.unsent(&op.wish.id)? {
            later.wish.base_version = op.wish.base_version;
            later.wish.base.clone_from(&op.wish.base);
            later.writer = self.joined(&later.writer, &op.writer);
            self.follow(op, &later.request_id)?;
            return self.keep(&later);
        }
        let text = serde_json::to_string(&reason).map_err(StoreError::corrupt)?;
        self.park(&op.wish, &text)?;
        self.tell(op, Verdict::Rejected { reason })
    }

    /// Writes an operation back that was never sent, unless nothing is left of it.
    pub(super) fn keep(&mut self, op: &Waiting) -> Result<(), StoreError> {
        if !op.wish.is_nothing() {
            return self.rewrite(op);
        }
        self.remove(op.seq)?;
        let version = op.wish.base_version;
        self.tell(op, Verdict::Acknowledged { version })
    }

    fn may_merge(&mut self, id: &str, guard: Guard) -> Result<bool, StoreError> {
        if guard == Guard::Off {
            return Ok(true);
        }
        let recent = self.now_ms - MERGE_AGAIN_MS;
        if self.merged_at(id)?.is_some_and(|at| at > recent) {
            return Ok(false);
        }
        self.mark_merged(id, recent)?;
        Ok(true)
    }

    /// The app sees the record otherwise than before, because of the server.
    fn seen(&mut self, wish: &Wish) {
        let (id, version, origin) = (wish.id.clone(), wish.base_version, Origin::Remote);
        if wish.fields.is_some() {
            self.news.merged.push(Change::Upserted {
                id,
                version,
                origin,
            });
        }
    }
}

const SERVICE_FIELDS: [&str; 1] = ["lastModifiedByDeviceId"];
const MERGE_AGAIN_MS: i64 = 5 * 60 * 1000;
