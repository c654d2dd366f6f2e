//! A local write on its way.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::error::StoreError;
use super::types::Verdict;

/// A local write that is durable. Awaiting it gives the server's verdict, however long that takes;
/// dropping it changes nothing. It does not outlive the store: what waits is in
/// [`pending`](super::SqliteStore::pending) after a restart.
///
/// Where a later write to the record was folded in, or others' changes were merged, the verdict is the
/// one on the outcome. Where another process syncs the store
/// ([`Status::syncs_here`](crate::Status::syncs_here)) it comes about half a second later. It is
/// [`StoreError::Closed`] where none will come: the store was closed here, or wiped anywhere.
#[derive(Debug)]
pub struct WriteHandle(State);

#[derive(Debug)]
enum State {
    Done(Verdict),
    Waiting(oneshot::Receiver<Verdict>),
}

impl WriteHandle {
    pub(super) const fn done(verdict: Verdict) -> Self {
        Self(State::Done(verdict))
    }

    pub(super) fn waiting() -> (oneshot::Sender<Verdict>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(State::Waiting(receiver)))
    }
}

impl Future for WriteHandle {
    type Output = Result<Verdict, StoreError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Done(verdict) => Poll::Ready(Ok(verdict.clone())),
            State::Waiting(verdict) => {
                let verdict = Pin::new(verdict).poll(cx);
                verdict.map(|verdict| verdict.map_err(|_| StoreError::Closed))
            }
        }
    }
}
