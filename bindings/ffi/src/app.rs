//! What the app brings along.

use std::sync::Arc;

use evenkeel::Secret;

use crate::names::TokenReason;
use crate::status::SyncStatus;

/// Where the client gets its bearer token. The app implements it.
#[uniffi::export(rust, foreign)]
#[async_trait::async_trait]
pub trait TokenProvider: Send + Sync {
    /// A token that may work now. The answer is kept until the service refuses it, or the app says that it
    /// changed. One question is asked at a time. One that takes longer than the configuration allows is
    /// dropped and counts as `Unavailable`, as does everything unexpected that is thrown.
    async fn token(&self, reason: TokenReason) -> Result<String, TokenProviderError>;
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum TokenProviderError {
    /// It could not be had now, by the app's own network trouble for instance. The client asks again
    /// later, by itself.
    #[error("no token can be had at the moment")]
    Unavailable,
    /// The user is signed out. The client asks for nothing until the app calls `token_changed`.
    #[error("the user is signed out")]
    SignedOut,
}

impl From<uniffi::UnexpectedUniFFICallbackError> for TokenProviderError {
    fn from(_: uniffi::UnexpectedUniFFICallbackError) -> Self {
        // What was thrown could hold the token.
        Self::Unavailable
    }
}

/// Hears of each status. The app implements it.
#[uniffi::export(rust, foreign)]
pub trait StatusListener: Send + Sync {
    /// The present status first, then each newer one; one that comes while the last call has not returned
    /// may be skipped, but never the latest. Called on a thread of the client's, one call at a time. What
    /// is thrown is counted and otherwise without effect.
    fn on_status(&self, status: SyncStatus) -> Result<(), ListenerError>;
}

/// A listener failed. The next status comes nevertheless.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum ListenerError {
    /// With whatever it was.
    #[error("the listener failed")]
    Failed,
}

impl From<uniffi::UnexpectedUniFFICallbackError> for ListenerError {
    fn from(_: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Failed
    }
}

/// The app's provider in the SDK's form.
pub(crate) fn tokens_of(provider: Arc<dyn TokenProvider>) -> impl evenkeel::TokenProvider {
    move |reason: evenkeel::TokenReason| {
        let provider = Arc::clone(&provider);
        async move {
            match provider.token(reason.into()).await {
                Ok(token) => Ok(Secret::new(token)),
                Err(TokenProviderError::Unavailable) => Err(evenkeel::TokenError::Unavailable),
                Err(TokenProviderError::SignedOut) => Err(evenkeel::TokenError::SignedOut),
            }
        }
    }
}
