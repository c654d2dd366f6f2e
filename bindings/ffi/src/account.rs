//! The account's devices, and signing out.

use std::sync::Arc;

use crate::client::EvenkeelClient;
use crate::errors::{DataError, RequestError};
use crate::runtime::CancelToken;

/// What becomes of the data when the user signs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum SignOut {
    /// It stays, for the same account alone.
    Keep,
    /// It goes, writes that were not sent included, and the file is free for another account.
    Wipe,
}

/// One device of the account.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct DeviceInfo {
    /// Its id.
    pub id: String,
    /// Whether it is this one.
    pub current: bool,
    /// Its name for people.
    pub label: Option<String>,
    /// What it runs on.
    pub platform: Option<String>,
    /// When it last asked for something.
    pub last_seen_at_ms: Option<i64>,
    /// When it first asked for something.
    pub created_at_ms: Option<i64>,
    /// Since when it is shut out, if it is.
    pub revoked_at_ms: Option<i64>,
}

#[uniffi::export]
impl EvenkeelClient {
    /// The devices of this account, revoked ones included, as the service knows them now.
    pub async fn devices(
        &self,
        cancel: Option<Arc<CancelToken>>,
    ) -> Result<Vec<DeviceInfo>, RequestError> {
        self.run(cancel, |core| async move {
            let list = core.client.devices().await?;
            let current = list.current_device_id;
            let devices = list.devices.into_iter().map(|device| DeviceInfo {
                current: current.as_deref() == Some(&*device.id),
                id: device.id,
                label: device.label,
                platform: device.platform,
                last_seen_at_ms: device.last_seen_at.map(|at| at.0),
                created_at_ms: device.created_at.map(|at| at.0),
                revoked_at_ms: device.revoked_at.map(|at| at.0),
            });
            Ok(devices.collect())
        })
        .await
    }

    /// Shuts a device out of the account, for ever; its id as the service confirms it.
    pub async fn revoke_device(
        &self,
        id: String,
        cancel: Option<Arc<CancelToken>>,
    ) -> Result<String, RequestError> {
        self.run(cancel, move |core| async move {
            let answer = core.client.revoke_device(&id).await?;
            Ok(answer.revoked_device_id)
        })
        .await
    }

    /// Ends the syncing and closes the client, with or without what is in the store. Where a wipe fails the
    /// client is stopped and open.
    pub async fn sign_out(&self, data: SignOut) -> Result<(), DataError> {
        let signed_out = self.run(None, move |core| async move {
            core.client.stop().await;
            let what = match data {
                SignOut::Keep => evenkeel::store::SignOut::Keep,
                SignOut::Wipe => evenkeel::store::SignOut::Wipe,
            };
            core.store.sign_out(what).await.map_err(DataError::from)
        });
        signed_out.await?;
        self.shut_down().await;
        Ok(())
    }
}
