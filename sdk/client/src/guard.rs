//! Keeps other people's panics from becoming ours.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

/// The app's code panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

/// Runs a future of the app; its panic is an answer.
pub(crate) async fn caught<T>(future: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut future = pin!(future);
    // A future that panicked is not polled again, so nothing half-done is looked at.
    poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
            Err(_) => Poll::Ready(Err(Panicked)),
        },
    )
    .await
}

/// Calls the app's code; its panic is an answer.
pub(crate) fn caught_now<T>(call: impl FnOnce() -> T) -> Result<T, Panicked> {
    // What the app's code left half-done is the app's to look at.
    catch_unwind(AssertUnwindSafe(call)).map_err(|_| Panicked)
}

/// Locks; what is inside stays consistent between statements, so a panic elsewhere does not spoil it.
pub(crate) fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
