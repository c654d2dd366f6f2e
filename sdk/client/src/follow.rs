//! A stream made of steps, each a future that hands its state on.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

type Step<S, T> = Pin<Box<dyn Future<Output = (Option<T>, S)> + Send>>;

/// Runs `step` again and again; what it has begun survives a dropped `next`.
pub(crate) struct Follow<S, T> {
    begin: fn(S) -> Step<S, T>,
    /// `None` once the end was reached.
    step: Option<Step<S, T>>,
}

impl<S, T> Follow<S, T> {
    pub(crate) fn new(state: S, begin: fn(S) -> Step<S, T>) -> Self {
        Self {
            begin,
            step: Some(begin(state)),
        }
    }

    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let Some(step) = &mut self.step else {
            return Poll::Ready(None);
        };
        let Poll::Ready((item, state)) = step.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        self.step = item.is_some().then(|| (self.begin)(state));
        Poll::Ready(item)
    }

    pub(crate) async fn next(&mut self) -> Option<T> {
        poll_fn(|cx| self.poll_next(cx)).await
    }
}

impl<S, T> Stream for Follow<S, T>
where
    Self: Unpin,
{
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        Self::poll_next(&mut self, cx)
    }
}

impl<S, T> fmt::Debug for Follow<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follow")
            .field("ended", &self.step.is_none())
            .finish()
    }
}
