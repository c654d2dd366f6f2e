//! The service's side of the contract: versions, a log, and a memory of operations that can be lost.

use std::collections::BTreeMap;

use evenkeel::wire::{
    Applied, Change, Conflict, Cursor, Op, Operation, PullPage, PushAnswer, Record, Snapshot,
    UnixMillis, Version,
};

/// One writing that took effect.
#[derive(Clone, Debug)]
pub(super) struct Past {
    pub(super) note_id: String,
    pub(super) by: usize,
    /// Which write; `None` for a deletion.
    pub(super) mark: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Service {
    records: BTreeMap<String, Record>,
    log: Vec<Change>,
    /// Which operations were applied, and with what answer; kept for a day. In the order of their coming, since
    /// their names are random.
    memory: Vec<Applied>,
    pub(super) past: Vec<Past>,
    /// Operations that had an effect, for the checks.
    effects: Vec<String>,
    pub(super) doubled: bool,
    pub(super) repeated: bool,
    pub(super) repeated_unknown: bool,
}

impl Service {
    /// One operation, in a transaction of its own.
    pub(super) fn apply(&mut self, by: usize, operation: &Operation, answer: &mut PushAnswer) {
        let mut memory = self.memory.iter();
        if let Some(known) = memory.find(|known| known.request_id == operation.request_id) {
            self.repeated = true;
            answer.applied.push(known.clone());
            return;
        }
        self.repeated_unknown |= self.effects.contains(&operation.request_id);
        let server = self.records.get(&operation.note_id);
        let version = server.map_or(Version::ZERO, |record| record.version);
        if version != operation.base_version {
            answer.conflicts.push(Conflict {
                request_id: operation.request_id.clone(),
                note_id: operation.note_id.clone(),
                base_version: operation.base_version,
                current_version: version,
                server_note: server.cloned(),
                changed_fields: Vec::new(),
            });
            return;
        }
        let mut record = operation.note.clone().unwrap_or_default();
        record.id.clone_from(&operation.note_id);
        record.version = Version(version.0 + 1);
        record.deleted_at = (operation.op == Op::Delete).then_some(UnixMillis(1));
        let cursor = Cursor(self.log.len() as u64 + 1);
        self.doubled |= self.effects.contains(&operation.request_id);
        self.effects.push(operation.request_id.clone());
        self.past.push(Past {
            note_id: operation.note_id.clone(),
            by,
            mark: mark(&record),
        });
        self.log.push(Change {
            cursor,
            op: operation.op.clone(),
            note: Some(record.clone()),
            request_id: Some(operation.request_id.clone()),
        });
        let applied = Applied {
            request_id: operation.request_id.clone(),
            note: Some(record.clone()),
            cursor,
        };
        self.memory.push(applied.clone());
        self.records.insert(operation.note_id.clone(), record);
        answer.applied.push(applied);
    }

    pub(super) fn forget(&mut self) {
        self.memory.clear();
    }

    pub(super) fn remembers(&self) -> bool {
        !self.memory.is_empty()
    }

    pub(super) fn end(&self) -> Cursor {
        Cursor(self.log.len() as u64)
    }

    pub(super) fn page(&self, from: Cursor) -> PullPage {
        let after = self.log.iter().filter(|change| change.cursor > from);
        let changes: Vec<_> = after.take(PAGE_MAX).cloned().collect();
        PullPage {
            next_cursor: changes.last().map_or(from, |change| change.cursor),
            changes,
            ..PullPage::default()
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            notes: self.live(),
            cursor: self.end(),
        }
    }

    pub(super) fn live(&self) -> Vec<Record> {
        let live = self.records.values().filter(|record| !record.is_deleted());
        live.cloned().collect()
    }
}

/// The name of the write that a record carries. It is a field's name, since debug texts hold no values.
pub(super) fn mark(record: &Record) -> Option<String> {
    record.fields.keys().next().cloned()
}

const PAGE_MAX: usize = 2;
