//! The queue of local writes: one operation per record at the server's door, later ones folded.

use std::collections::{HashSet, VecDeque};

use evenkeel_proto::wire::{Op, Operation, PUSH_OPERATIONS_MAX, PushRequest, Record, Version};

use super::BatchLimits;

#[derive(Clone, Debug)]
pub(super) struct Outbox {
    queue: VecDeque<Waiting>,
    /// How many operations the next batch may hold; halved when a batch is refused.
    batch_max: usize,
}

#[derive(Clone, Debug)]
struct Waiting {
    operation: Operation,
    /// It was given out once: its bytes and its id are fixed until the server's answer is known.
    sent: bool,
    /// How often the server's answer left it out.
    unanswered: u8,
}

/// What to do with an operation that the answer left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeftOut {
    SendAgain,
    GiveUp,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            batch_max: PUSH_OPERATIONS_MAX,
        }
    }
}

impl Outbox {
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// The records that something waits for.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.queue
            .iter()
            .map(|waiting| waiting.operation.note_id.as_str())
    }

    /// The content that the record will have when all is sent: `None` if nothing waits for it.
    pub(super) fn latest(&self, id: &str) -> Option<&Operation> {
        self.queue
            .iter()
            .rev()
            .map(|waiting| &waiting.operation)
            .find(|operation| operation.note_id == id)
    }

    /// Whether there is room for a write to this record without growing.
    pub(super) fn would_fold(&self, id: &str) -> bool {
        self.queue
            .iter()
            .any(|waiting| !waiting.sent && waiting.operation.note_id == id)
    }

    /// Queues a write; an earlier one that was never sent is replaced in its place.
    pub(super) fn push(&mut self, mut operation: Operation) {
        let earlier = self
            .queue
            .iter_mut()
            .find(|waiting| !waiting.sent && waiting.operation.note_id == operation.note_id);
        if let Some(earlier) = earlier {
            operation.base_version = earlier.operation.base_version;
            earlier.operation = operation;
            return;
        }
        self.queue.push_back(Waiting {
            operation,
            sent: false,
            unanswered: 0,
        });
    }

    pub(super) fn take_batch(&mut self, limits: BatchLimits) -> Option<PushRequest> {
        let ops_max = limits
            .ops_max
            .min(self.batch_max)
            .clamp(1, PUSH_OPERATIONS_MAX);
        let mut operations = Vec::new();
        let mut bytes = ENVELOPE_BYTES;
        let mut busy = HashSet::new();
        for waiting in &mut self.queue {
            if operations.len() == ops_max {
                break;
            }
            // The second write to a record is based on what the first one leads to.
            if !busy.insert(waiting.operation.note_id.clone()) {
                continue;
            }
            bytes += json_bytes(&waiting.operation) + 1;
            if bytes > limits.bytes_max && !operations.is_empty() {
                break;
            }
            waiting.sent = true;
            operations.push(waiting.operation.clone());
        }
        (!operations.is_empty()).then_some(PushRequest { operations })
    }

    /// Takes out the operation with this id.
    pub(super) fn settle(&mut self, request_id: &str) -> Option<Operation> {
        let at = self
            .queue
            .iter()
            .position(|waiting| waiting.operation.request_id == request_id)?;
        self.queue.remove(at).map(|waiting| waiting.operation)
    }

    /// Takes out everything that waits for a record; the last one first.
    pub(super) fn drain_record(&mut self, id: &str) -> Vec<Operation> {
        let mut drained = Vec::new();
        self.queue.retain(|waiting| {
            let keep = waiting.operation.note_id != id;
            if !keep {
                drained.push(waiting.operation.clone());
            }
            keep
        });
        drained.reverse();
        drained
    }

    /// The record has this version now: what was not sent yet is based on it.
    pub(super) fn rebase(&mut self, id: &str, version: Version) {
        for waiting in &mut self.queue {
            if !waiting.sent && waiting.operation.note_id == id {
                waiting.operation.base_version = version;
            }
        }
    }

    pub(super) fn left_out(&mut self, request_id: &str) -> Option<LeftOut> {
        let waiting = self
            .queue
            .iter_mut()
            .find(|waiting| waiting.operation.request_id == request_id)?;
        waiting.unanswered += 1;
        Some(if waiting.unanswered > RESENDS_MAX {
            LeftOut::GiveUp
        } else {
            LeftOut::SendAgain
        })
    }

    /// A batch of this size went well.
    pub(super) fn grow_batches(&mut self) {
        self.batch_max = (self.batch_max * 2).min(PUSH_OPERATIONS_MAX);
    }

    /// A batch of this size was refused as a whole.
    pub(super) fn shrink_batches(&mut self, refused: usize) {
        self.batch_max = (refused / 2).max(1);
    }
}

/// Whether the server's record carries what the operation wanted, fields of the server's own aside.
pub(super) fn carries(server: &Record, operation: &Operation) -> bool {
    match (&operation.op, &operation.note) {
        (Op::Delete, _) => server.is_deleted(),
        (Op::Upsert, Some(note)) => {
            let mut wanted = note.fields.iter();
            !server.is_deleted()
                && wanted.all(|(name, value)| server.fields.get(name) == Some(value))
        }
        _ => false,
    }
}

fn json_bytes(operation: &Operation) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Writing into a counter cannot fail.
    let _ = serde_json::to_writer(&mut count, operation);
    count.0
}

const ENVELOPE_BYTES: usize = r#"{"operations":[]}"#.len();
const RESENDS_MAX: u8 = 1;
