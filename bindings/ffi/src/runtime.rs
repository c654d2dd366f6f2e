//! The client's own runtime, and how work gets on and off it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Ends whatever it was given to, at once and for good.
#[derive(Debug, uniffi::Object)]
pub struct CancelToken(watch::Sender<bool>);

#[uniffi::export]
impl CancelToken {
    /// One that was not used yet.
    #[uniffi::constructor]
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(false)))
    }

    /// What waits with it ends: a call with its error `Cancelled`, a feed with its end.
    pub fn cancel(&self) {
        self.0.send_replace(true);
    }
}

impl CancelToken {
    /// Returns when it was cancelled.
    pub(crate) async fn cancelled(&self) {
        // The sender is `self`.
        let _ = self.0.subscribe().wait_for(|cancelled| *cancelled).await;
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        *self.0.borrow()
    }
}

/// What every error of this crate can say.
pub(crate) trait Broken: Send + 'static {
    fn closed() -> Self;
    fn cancelled() -> Self;
    fn internal(reason: String) -> Self;
}

/// A runtime that may be dropped anywhere.
#[derive(Debug)]
pub(crate) struct OwnRuntime(Option<Runtime>);

impl OwnRuntime {
    pub(crate) fn new() -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .max_blocking_threads(BLOCKING_MAX)
            .thread_name("evenkeel")
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    pub(crate) fn handle(&self) -> Option<&Handle> {
        self.0.as_ref().map(Runtime::handle)
    }

    /// Ends it, and waits a moment for app code that does not return. Not from within a runtime.
    pub(crate) fn end(mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_timeout(APP_CODE_MAX);
        }
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Does the work on the client's runtime, whoever polls. It ends with the future, or when it is cancelled.
pub(crate) async fn run<T, E>(
    runtime: &Handle,
    cancel: Option<Arc<CancelToken>>,
    work: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: Broken,
{
    let mut task = Abort(runtime.spawn(work));
    let cancelled = async {
        match cancel {
            Some(cancel) => cancel.cancelled().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        done = &mut task.0 => done.unwrap_or_else(|lost| Err(if lost.is_panic() {
            E::internal("a call panicked".into())
        } else {
            E::closed()
        })),
        () = cancelled => Err(E::cancelled()),
    }
}

/// A short call, in the client's runtime; a panic in it is an error.
pub(crate) fn call<T, E: Broken>(
    runtime: &Handle,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let _within = runtime.enter();
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(E::internal("a call panicked".into())))
}

struct Abort<T>(JoinHandle<T>);

impl<T> Drop for Abort<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

const WORKERS: usize = 2;
/// For listeners and DNS.
const BLOCKING_MAX: usize = 16;
/// Closing waits this long for a listener that does not return.
const APP_CODE_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{OwnRuntime, call, run};
    use crate::errors::{ClientError, DataError};

    #[tokio::test]
    async fn a_panic_in_a_call_is_its_error_and_the_next_one_works() {
        let runtime = OwnRuntime::new().unwrap();
        let handle = runtime.handle().unwrap().clone();
        let missing = || "seven".parse::<i64>().unwrap();
        let panicked = "a call panicked".to_owned();

        let waited = run(&handle, None, async move {
            tokio::task::yield_now().await;
            Ok::<_, DataError>(missing())
        });
        let reason = panicked.clone();
        assert_eq!(waited.await, Err(DataError::Internal { reason }));
        let short = call(&handle, || Ok::<_, ClientError>(missing()));
        assert_eq!(short, Err(ClientError::Internal { reason: panicked }));

        let again = run(&handle, None, async { Ok::<_, DataError>(7) });
        assert_eq!(again.await, Ok(7));
        assert_eq!(call(&handle, || Ok::<_, ClientError>(7)), Ok(7));
    }
}
