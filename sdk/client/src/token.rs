//! The bearer token: the app owns it, the client only borrows it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use evenkeel_proto::wire::Secret;
use evenkeel_proto::{Cause, Failure, engine};

use crate::guard::{caught, locked};

/// Why the client asks for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenReason {
    /// It has none yet, or was told that it changed: a token that the app has at hand will do.
    Needed,
    /// The service refused the last one: a fresh one is wanted.
    Refused,
}

/// Why there is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It could not be had now, by the app's own network trouble for instance. The client asks again
    /// later, by itself.
    #[error("no token can be had at the moment")]
    Unavailable,
    /// The user is signed out. The client asks for nothing until the app calls
    /// [`set_token_changed`](crate::SyncClient::set_token_changed).
    #[error("the user is signed out")]
    SignedOut,
}

/// Where the client gets its bearer token. A closure is one too:
///
/// ```
/// use evenkeel::{Secret, TokenError, TokenReason};
/// let provider = |_why: TokenReason| async { Ok::<_, TokenError>(Secret::new("s3cret")) };
/// # fn takes(_: impl evenkeel::TokenProvider) {}
/// # takes(provider);
/// ```
///
/// The answer is kept until the service refuses it or the app says that it changed. One question is
/// asked at a time; one that takes longer than [`Timeouts::token`](crate::Timeouts::token) is
/// dropped and counts as [`TokenError::Unavailable`], a panic likewise.
pub trait TokenProvider: Send + Sync + 'static {
    /// A token that may work now.
    fn token(&self, reason: TokenReason)
    -> impl Future<Output = Result<Secret, TokenError>> + Send;
}

impl<F, Fut> TokenProvider for F
where
    F: Fn(TokenReason) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Secret, TokenError>> + Send,
{
    fn token(
        &self,
        reason: TokenReason,
    ) -> impl Future<Output = Result<Secret, TokenError>> + Send {
        self(reason)
    }
}

/// A token that cannot be refreshed: when the service refuses it, the user is signed out.
pub(crate) struct FixedToken(pub(crate) Secret);

impl TokenProvider for FixedToken {
    async fn token(&self, reason: TokenReason) -> Result<Secret, TokenError> {
        match reason {
            TokenReason::Needed => Ok(self.0.clone()),
            TokenReason::Refused => Err(TokenError::SignedOut),
        }
    }
}

type Asked<'a> = Pin<Box<dyn Future<Output = Result<Secret, TokenError>> + Send + 'a>>;

/// [`TokenProvider`] behind a pointer.
pub(crate) trait AnyProvider: Send + Sync {
    fn ask(&self, reason: TokenReason) -> Asked<'_>;
}

impl<P: TokenProvider> AnyProvider for P {
    fn ask(&self, reason: TokenReason) -> Asked<'_> {
        // The call itself is part of the future, so that a panic in it is caught too.
        Box::pin(async move { self.token(reason).await })
    }
}

/// The provider and what it last gave.
pub(crate) struct Tokens {
    provider: Box<dyn AnyProvider>,
    patience: Duration,
    cached: Mutex<Cached>,
    /// One question at a time.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Cached {
    token: Option<Secret>,
    /// Rises whenever a token given before must not be used any more.
    epoch: u64,
}

impl Tokens {
    pub(crate) fn new(provider: Box<dyn AnyProvider>, patience: Duration) -> Self {
        Self {
            provider,
            patience,
            cached: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }
    }

    /// The token in use, or one asked for now.
    pub(crate) async fn current(&self) -> Result<Secret, Failure> {
        if let Some(token) = self.peek() {
            return Ok(token);
        }
        let _turn = self.asking.lock().await;
        if let Some(token) = self.peek() {
            return Ok(token);
        }
        self.ask(TokenReason::Needed).await.map_err(|e| match e {
            TokenError::Unavailable => Failure::local(Cause::TokenUnavailable, e.to_string()),
            TokenError::SignedOut => Failure::local(Cause::AuthRequired, e.to_string()),
        })
    }

    /// The token in use, if there is one.
    pub(crate) fn peek(&self) -> Option<Secret> {
        locked(&self.cached).token.clone()
    }

    /// Asks for another token because the service refused the last one.
    pub(crate) async fn refresh(&self) -> Result<(), engine::TokenError> {
        let _turn = self.asking.lock().await;
        self.forget();
        match self.ask(TokenReason::Refused).await {
            Ok(_) => Ok(()),
            Err(TokenError::Unavailable) => Err(engine::TokenError::Unavailable),
            Err(TokenError::SignedOut) => Err(engine::TokenError::SignedOut),
        }
    }

    /// The app has another token.
    pub(crate) fn forget(&self) {
        let mut cached = locked(&self.cached);
        cached.token = None;
        cached.epoch += 1;
    }

    async fn ask(&self, reason: TokenReason) -> Result<Secret, TokenError> {
        let epoch = locked(&self.cached).epoch;
        let answer = tokio::time::timeout(self.patience, caught(self.provider.ask(reason))).await;
        let token = match answer {
            Ok(Ok(answer)) => answer?,
            Ok(Err(_panicked)) => {
                tracing::error!(target: "evenkeel", "the token provider panicked");
                return Err(TokenError::Unavailable);
            }
            Err(_elapsed) => return Err(TokenError::Unavailable),
        };
        let mut cached = locked(&self.cached);
        // The app changed the token while it was asked: this answer may be the old one. It may be
        // tried once, but is not kept.
        if cached.epoch == epoch {
            cached.token = Some(token.clone());
        }
        Ok(token)
    }
}

/// What it means for a request that there is no token.
pub(crate) fn no_token(error: engine::TokenError) -> Failure {
    match error {
        engine::TokenError::SignedOut => {
            Failure::local(Cause::AuthRequired, "the user is signed out")
        }
        _ => Failure::local(Cause::TokenUnavailable, "no token can be had at the moment"),
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn counting() -> (Tokens, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&asked);
        let provider = move |reason| {
            let n = seen.fetch_add(1, Ordering::SeqCst);
            async move {
                match reason {
                    TokenReason::Needed => Ok(Secret::new(format!("first{n}"))),
                    TokenReason::Refused => Ok(Secret::new(format!("fresh{n}"))),
                }
            }
        };
        let tokens = Tokens::new(Box::new(provider), Duration::from_secs(1));
        (tokens, asked)
    }

    #[tokio::test]
    async fn a_token_is_asked_for_once_and_kept_until_refused_or_changed() {
        let (tokens, asked) = counting();
        let (a, b) = tokio::join!(tokens.current(), tokens.current());
        assert_eq!(a.unwrap().expose(), "first0");
        assert_eq!(b.unwrap().expose(), "first0");
        tokens.refresh().await.unwrap();
        assert_eq!(tokens.current().await.unwrap().expose(), "fresh1");
        tokens.forget();
        assert_eq!(tokens.current().await.unwrap().expose(), "first2");
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_or_panicking_provider_is_unavailable() {
        let slow = |_: TokenReason| std::future::pending::<Result<Secret, TokenError>>();
        let tokens = Tokens::new(Box::new(slow), Duration::from_secs(5));
        let failure = tokens.current().await.unwrap_err();
        assert_eq!(failure.cause, Cause::TokenUnavailable);

        fn explode(_: TokenReason) -> std::future::Ready<Result<Secret, TokenError>> {
            panic!("app code")
        }
        let tokens = Tokens::new(Box::new(explode), Duration::from_secs(5));
        let failure = tokens.current().await.unwrap_err();
        assert_eq!(failure.cause, Cause::TokenUnavailable);
    }

    #[tokio::test]
    async fn a_fixed_token_that_is_refused_means_signed_out() {
        let fixed = FixedToken(Secret::new("t"));
        let tokens = Tokens::new(Box::new(fixed), Duration::from_secs(1));
        assert_eq!(tokens.current().await.unwrap().expose(), "t");
        assert_eq!(tokens.refresh().await, Err(engine::TokenError::SignedOut));
    }
}
