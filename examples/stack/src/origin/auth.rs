//! Whether a caller may come in, and the devices of an account.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use evenkeel_proto::wire::{DeviceList, RevokeAnswer};
use http::{HeaderMap, StatusCode};
use uuid::Uuid;

use super::Origin;
use crate::answer::{self, Refusal};
use crate::caller::{auth_required, device_id};
use crate::store::{Caller, DeviceState};

impl Origin {
    /// Who asks, if they may.
    pub(super) async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let user = self.issuer.caller(headers, &self.faults.now())?;
        let caller = Caller {
            user: user.ok_or_else(|| auth_required("a token is needed"))?,
            // Whoever does not say which device it is counts as a new one, each time.
            device: device_id(headers).unwrap_or_else(Uuid::new_v4),
        };
        let state = self.database.greet(caller.clone()).await?;
        if state == DeviceState::Revoked || self.revoked_by_fault(caller.device) {
            return Err(revoked());
        }
        Ok(caller)
    }

    pub(super) fn revoked_by_fault(&self, device: Uuid) -> bool {
        let revoked = &self.faults.now().devices_revoked;
        revoked
            .as_ref()
            .is_some_and(|ids| ids.holds(&device.to_string()))
    }
}

pub(super) fn revoked() -> Refusal {
    Refusal::new(
        StatusCode::FORBIDDEN,
        "DEVICE_REVOKED",
        "this device has been revoked",
    )
}

pub(super) async fn devices(
    State(origin): State<Arc<Origin>>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let caller = origin.caller(&headers).await?;
    let mut devices = origin.database.devices(caller.user).await?;
    for device in &mut devices {
        let times = [
            &mut device.created_at,
            &mut device.last_seen_at,
            &mut device.revoked_at,
        ];
        for time in times.into_iter().flatten() {
            *time = origin.clock.shown(time.0);
        }
    }
    let list = DeviceList {
        devices,
        current_device_id: Some(caller.device.to_string()),
    };
    Ok(answer::json(StatusCode::OK, &list))
}

pub(super) async fn revoke(
    State(origin): State<Arc<Origin>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let caller = origin.caller(&headers).await?;
    let device = Uuid::parse_str(&id).map_err(|_| Refusal::not_found())?;
    if !origin.database.revoke(caller.user, device).await? {
        return Err(Refusal::not_found());
    }
    let done = RevokeAnswer {
        ok: true,
        revoked_device_id: device.to_string(),
    };
    Ok(answer::json(StatusCode::OK, &done))
}
