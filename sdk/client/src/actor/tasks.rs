//! One task per request: asks, has the replica apply the answer, and says what came of it.
//!
//! Giving up works while the answer is awaited. Once the replica applies it, that goes on to its end,
//! one answer at a time: a snapshot that lands after the pages that follow it would undo them.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_proto::engine::{Input, Pulled, RequestId, TokenError};
use evenkeel_proto::wire::{Cursor, PushRequest};
use evenkeel_proto::{Cause, Failure};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::changes::Change;
use crate::diagnostics::Lane;
use crate::guard::{caught, caught_now, locked};
use crate::progress::Progress;
use crate::replica::{BatchLimits, ReplicaError, ReplicaFuture};
use crate::shared::Shared;
use crate::token::no_token;
use crate::transport::{Spool, StreamItem, Ticket};

pub(super) type Work = Pin<Box<dyn Future<Output = Finished> + Send>>;

/// A task's end; without an answer where it was given up, or said all in events.
pub(super) struct Finished {
    pub(super) id: RequestId,
    pub(super) answer: Option<Answer>,
}

pub(super) enum Answer {
    Ticket(Result<(Ticket, Duration), Failure>),
    Pulled(Result<Pulled, Failure>),
    Snapshotted(Result<Cursor, Failure>),
    Pushed(Result<(), Failure>),
    Token(Result<(), TokenError>),
    /// A stream that ended in a way it could not tell by itself.
    StreamBroke(Failure),
}

impl Answer {
    pub(super) fn failure(&self) -> Option<Cow<'_, Failure>> {
        match self {
            Self::Ticket(Err(failure))
            | Self::Pulled(Err(failure))
            | Self::Snapshotted(Err(failure))
            | Self::Pushed(Err(failure))
            | Self::StreamBroke(failure) => Some(Cow::Borrowed(failure)),
            Self::Token(Err(error)) => Some(Cow::Owned(no_token(*error))),
            _ => None,
        }
    }
}

/// What a task that panicked answers.
pub(super) fn panicked(lane: Lane) -> Option<Answer> {
    let failure = || Failure::local(Cause::BadResponse, "handling the answer panicked");
    Some(match lane {
        Lane::Ticket => Answer::Ticket(Err(failure())),
        Lane::Stream => Answer::StreamBroke(failure()),
        Lane::Pull => Answer::Pulled(Err(failure())),
        Lane::Snapshot => Answer::Snapshotted(Err(failure())),
        Lane::Push => Answer::Pushed(Err(failure())),
        Lane::Token => Answer::Token(Err(TokenError::Unavailable)),
        // Not a request.
        Lane::Store => return None,
    })
}

/// What the tasks need.
#[derive(Clone)]
pub(super) struct Requests {
    shared: Arc<Shared>,
    events: mpsc::Sender<Input>,
    /// Held while an answer is applied.
    applying: Arc<Mutex<()>>,
}

type Hold = oneshot::Receiver<()>;

impl Requests {
    pub(super) fn new(shared: Arc<Shared>, events: mpsc::Sender<Input>) -> Self {
        Self {
            shared,
            events,
            applying: Arc::default(),
        }
    }

    pub(super) async fn ticket(self, id: RequestId, hold: Hold) -> Finished {
        let asking = async {
            let token = self.shared.tokens.current().await?;
            self.shared.transport.ticket(&token).await
        };
        let answer = unless_given_up(hold, asking).await;
        finished(id, answer.map(Answer::Ticket))
    }

    pub(super) async fn token(self, id: RequestId, hold: Hold) -> Finished {
        let answer = unless_given_up(hold, self.shared.tokens.refresh()).await;
        finished(id, answer.map(Answer::Token))
    }

    pub(super) async fn stream(
        self,
        id: RequestId,
        ticket: Option<Ticket>,
        hold: Hold,
    ) -> Finished {
        // Giving up drops the response, and with it the connection.
        unless_given_up(hold, self.run_stream(id, ticket)).await;
        finished(id, None)
    }

    async fn run_stream(&self, id: RequestId, ticket: Option<Ticket>) {
        let opened = match ticket {
            Some(ticket) => self.shared.transport.open_stream(ticket).await,
            None => Err(Failure::local(
                Cause::TicketExpired,
                "the ticket is used up already",
            )),
        };
        let mut stream = match opened {
            Ok(stream) => stream,
            Err(failure) => {
                let result = Err(failure);
                return self.tell(Input::Opened { id, result }).await;
            }
        };
        self.tell(Input::Opened { id, result: Ok(()) }).await;
        loop {
            match stream.next().await {
                StreamItem::Event(event) => self.tell(Input::Event { id, event }).await,
                StreamItem::Closed(failure) => {
                    return self.tell(Input::Closed { id, failure }).await;
                }
            }
        }
    }

    pub(super) async fn pull(
        self,
        id: RequestId,
        from: Cursor,
        settles: Option<Cursor>,
        hold: Hold,
    ) -> Finished {
        let asking = async {
            let token = self.shared.tokens.current().await?;
            let spool = self.spool(id)?;
            self.shared.transport.pull(&token, from.0, spool).await
        };
        let Some(page) = unless_given_up(hold, asking).await else {
            return finished(id, None);
        };
        let result = match page {
            Err(failure) => Err(failure),
            Ok(page) => {
                let page = page.settling(settles);
                let applying = || self.shared.replica.apply_page(from, page);
                self.apply(id, applying).await
            }
        };
        finished(id, Some(Answer::Pulled(result)))
    }

    pub(super) async fn snapshot(
        self,
        id: RequestId,
        resume: Option<Cursor>,
        hold: Hold,
    ) -> Finished {
        let asking = async {
            let token = self.shared.tokens.current().await?;
            let spool = self.spool(id)?;
            self.shared.transport.snapshot(&token, spool).await
        };
        let Some(snapshot) = unless_given_up(hold, asking).await else {
            return finished(id, None);
        };
        let result = match snapshot {
            Err(failure) => Err(failure),
            Ok(snapshot) => {
                let applying = || self.shared.replica.replace(snapshot, resume);
                self.apply(id, applying).await
            }
        };
        finished(id, Some(Answer::Snapshotted(result)))
    }

    pub(super) async fn push(self, id: RequestId, ops_max: u32, hold: Hold) -> Finished {
        let limits = BatchLimits {
            ops_max: usize::try_from(ops_max).unwrap_or(usize::MAX),
            bytes_max: self.shared.limits.push_bytes_max,
        };
        let batch = match replica(|| self.shared.replica.take_batch(limits)).await {
            Ok(Some(batch)) => batch,
            Ok(None) => return finished(id, Some(Answer::Pushed(Ok(())))),
            Err(failure) => return finished(id, Some(Answer::Pushed(Err(failure)))),
        };
        let asking = async {
            let token = self.shared.tokens.current().await?;
            self.shared.transport.push(&token, &batch).await
        };
        let Some(answer) = unless_given_up(hold, asking).await else {
            return finished(id, None);
        };
        let result = match answer {
            Ok(answer) => {
                let applying = || -> ReplicaFuture<'_, _> {
                    let applied = self.shared.replica.apply_push(batch, answer);
                    Box::pin(async { Ok(((), applied.await?)) })
                };
                self.apply(id, applying).await
            }
            Err(failure) => self.push_failed(batch, failure).await,
        };
        finished(id, Some(Answer::Pushed(result)))
    }

    async fn push_failed(&self, batch: PushRequest, failure: Failure) -> Result<(), Failure> {
        if matches!(failure.cause, Cause::BadRequest | Cause::PayloadTooLarge) {
            let _turn = self.applying.lock().await;
            let refusing = || self.shared.replica.refuse_push(batch, failure.clone());
            replica(refusing).await?;
        }
        Err(failure)
    }

    /// Applies, and tells those who listen. The replica is not even called before its turn: it may do
    /// its work in the call itself.
    async fn apply<'r, T>(
        &self,
        id: RequestId,
        applying: impl FnOnce() -> ReplicaFuture<'r, (T, Vec<Change>)>,
    ) -> Result<T, Failure> {
        let _turn = self.applying.lock().await;
        // The answer is here; what comes now may take its time.
        self.tell(Input::Progress { id }).await;
        let (done, changes) = replica(applying).await?;
        locked(&self.shared.journal).changes_applied += changes.len() as u64;
        self.shared.announce(changes);
        Ok(done)
    }

    /// Where a large answer waits until it is applied.
    fn spool(&self, id: RequestId) -> Result<Spool, Failure> {
        let dir = caught_now(|| self.shared.replica.spool_dir());
        let dir = dir.map_err(|_| Failure::local(Cause::StoreFailed, "the store panicked"))?;
        let events = self.events.clone();
        // A full channel means that the engine has news enough.
        let progress = Progress::new(move || drop(events.try_send(Input::Progress { id })));
        Ok(Spool::new(dir, progress))
    }

    /// Waits while the engine is behind, so that a stream is read no faster than it is understood.
    async fn tell(&self, input: Input) {
        // Without a receiver the client has ended, and this task with it.
        let _ = self.events.send(input).await;
    }
}

/// Asks the replica; its panic is a failure like any other.
pub(super) async fn replica<'r, T>(
    work: impl FnOnce() -> ReplicaFuture<'r, T>,
) -> Result<T, Failure> {
    let done = caught(async { work().await }).await;
    let done = done.unwrap_or_else(|_| {
        Err(ReplicaError::Failed {
            message: "the store panicked".into(),
        })
    });
    done.map_err(|error| {
        let cause = match error {
            ReplicaError::Unreadable(failure) => return failure,
            ReplicaError::Full => Cause::StorageFull,
            _ => Cause::StoreFailed,
        };
        Failure::local(cause, error.to_string())
    })
}

fn finished(id: RequestId, answer: Option<Answer>) -> Finished {
    Finished { id, answer }
}

/// `None` as soon as the actor lets go.
async fn unless_given_up<T>(hold: Hold, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        _ = hold => None,
        done = work => Some(done),
    }
}
