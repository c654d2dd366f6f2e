//! The account's devices: requests that the app makes, answered at once or not at all.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_proto::wire::{DeviceList, RevokeAnswer, Secret};
use evenkeel_proto::{Cause, Failure};
use tokio::runtime::Handle;

use crate::client::SyncClient;
use crate::clock;
use crate::error::RequestError;
use crate::guard::locked;
use crate::shared::Shared;
use crate::token::no_token;

impl SyncClient {
    /// The devices of this account, revoked ones included, as the service knows them now. One request
    /// (two where the token has to be refreshed first), never repeated by itself.
    ///
    /// # Errors
    ///
    /// See [`RequestError`].
    pub async fn devices(&self) -> Result<DeviceList, RequestError> {
        let transport = &self.shared().transport;
        ask(self.shared(), |token| async move {
            transport.devices(&token).await
        })
        .await
    }

    /// Shuts a device out of the account, for ever. This device can revoke itself: its status then
    /// asks the app what to do.
    ///
    /// # Errors
    ///
    /// [`Cause::NotFound`] in the failure where the account has no such device; see also
    /// [`RequestError`]. An answer can be lost: whether it was done is told by
    /// [`devices`](Self::devices), and to do it again does no harm.
    pub async fn revoke_device(&self, id: impl AsRef<str>) -> Result<RevokeAnswer, RequestError> {
        let (transport, id) = (&self.shared().transport, id.as_ref());
        ask(self.shared(), |token| async move {
            transport.revoke_device(&token, id).await
        })
        .await
    }
}

/// Asks unless the client is suspended or the server wants it to stay away, with another token where
/// the first one is refused.
async fn ask<T, F>(shared: &Arc<Shared>, request: impl Fn(Secret) -> F) -> Result<T, RequestError>
where
    F: Future<Output = Result<T, Failure>>,
{
    Handle::try_current().map_err(|_| RequestError::NoRuntime)?;
    if locked(&shared.wakes).suspended {
        return Err(RequestError::Suspended);
    }
    if let Some(wait) = floor(shared) {
        return Err(RequestError::Held { wait });
    }
    let answer = match request(shared.tokens.current().await?).await {
        Err(failure) if failure.cause == Cause::AuthRequired => {
            shared.tokens.refresh().await.map_err(no_token)?;
            request(shared.tokens.current().await?).await
        }
        answer => answer,
    };
    if let Err(failure) = &answer
        && let Some(wait) = failure.retry_after
    {
        *locked(&shared.asked_to_wait) = clock::now() + wait;
    }
    Ok(answer?)
}

/// How long the server wants this client to stay away, as far as it concerns the whole client.
fn floor(shared: &Shared) -> Option<Duration> {
    let own = *locked(&shared.asked_to_wait);
    let wait = shared.floors_left().gate.max(own.since(clock::now()));
    (!wait.is_zero()).then_some(wait)
}
