//! What is on its way between a client and the service.

use evenkeel::wire::{PullPage, PushAnswer, PushRequest, Record, Snapshot};
use evenkeel::{Cursor, Failure};
use evenkeel_proto::Timestamp;
use evenkeel_proto::engine::{Input, RequestId, StreamEvent};

use super::Asker;
use crate::server::Job;

pub(super) enum Ask {
    Ticket,
    Stream,
    Pull(Cursor, Option<Cursor>),
    Snapshot(Option<Cursor>),
    Push(PushRequest),
    Token,
}

pub(super) enum Answer {
    Input(Input),
    Page(Cursor, Option<Cursor>, Result<PullPage, Failure>),
    Snapshot(Option<Cursor>, Result<Snapshot, Failure>),
    Push(PushRequest, Result<PushAnswer, Failure>),
}

/// What the asker will hear.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Fate {
    Answered,
    Failed,
    Silent,
}

pub(super) enum What {
    // At the client, before it is sent.
    Post(Asker, Ask),
    // At the server.
    Arrive(Asker, Ask, Fate),
    Work(Asker, Box<Job>, PushRequest, Fate),
    SnapshotEnd(Asker, Option<Cursor>, Vec<Record>, Fate),
    // At the client.
    Came(Asker, Answer),
    Apply(Asker, Answer),
    Tell(Asker, Input),
    HeldTooLong(Asker),
    Cut(Asker, Option<Failure>),
    Event(Asker, StreamEvent),
    Wrote(usize, u32),
    // The world's.
    Restart(usize),
}

pub(super) struct Due {
    pub(super) at: u64,
    pub(super) order: u64,
    pub(super) what: What,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl Ask {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Ticket => "for a ticket".into(),
            Self::Stream => "for the stream".into(),
            Self::Pull(from, _) => format!("for changes from {from}"),
            Self::Snapshot(resume) => format!("for a snapshot, resuming at {resume:?}"),
            Self::Push(batch) => format!("to take {}", named(batch)),
            Self::Token => "for a token".into(),
        }
    }

    pub(super) fn copy(&self) -> Option<Self> {
        match self {
            Self::Push(batch) => Some(Self::Push(batch.clone())),
            _ => None,
        }
    }

    pub(super) fn failed(self, failure: Failure, id: RequestId) -> Answer {
        let result = Err(failure);
        match self {
            Self::Ticket => Answer::Input(Input::Ticket {
                id,
                result: result.map(|()| Timestamp::default()),
            }),
            Self::Pull(from, settles) => {
                Answer::Page(from, settles, result.map(|()| PullPage::default()))
            }
            Self::Snapshot(resume) => {
                Answer::Snapshot(resume, result.map(|()| Snapshot::default()))
            }
            Self::Push(batch) => Answer::Push(batch, result.map(|()| PushAnswer::default())),
            Self::Stream | Self::Token => Answer::Input(Input::Opened { id, result }),
        }
    }
}

impl Answer {
    /// The same, broken off.
    pub(super) fn replaced(self, failure: Failure, id: RequestId) -> Self {
        match self {
            Self::Input(Input::Ticket { .. }) => Ask::Ticket.failed(failure, id),
            Self::Input(_) => Ask::Stream.failed(failure, id),
            Self::Page(from, settles, _) => Self::Page(from, settles, Err(failure)),
            Self::Snapshot(resume, _) => Self::Snapshot(resume, Err(failure)),
            Self::Push(batch, _) => Self::Push(batch, Err(failure)),
        }
    }
}

pub(super) fn named(batch: &PushRequest) -> String {
    let named = batch.operations.iter().map(|op| {
        let fields = op
            .note
            .as_ref()
            .map(|note| format!("{:?}", note.fields.values()));
        format!("{} {} on {} {fields:?}", op.op, op.note_id, op.base_version)
    });
    named.collect::<Vec<_>>().join(", ")
}
