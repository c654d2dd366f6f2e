//! Who asks: users by their tokens, devices by their ids.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use evenkeel_proto::wire::{DeviceList, RevokeAnswer, path};
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use uuid::{Uuid, Variant};

use super::Origin;
use crate::answer::{self, Refusal};
use crate::settings::Settings;
use crate::store::{Caller, DeviceState};

/// Knows which token stands for whom.
#[derive(Debug)]
pub(super) struct Issuer {
    users: HashMap<String, String>,
    open: bool,
}

impl Issuer {
    pub(super) fn new(settings: &Settings) -> Self {
        let pairs = settings.tokens.split(',').map(str::trim);
        let users = pairs
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, DEMO_USER)))
            .map(|(token, user)| (token.to_owned(), user.to_owned()));
        Self {
            users: users.collect(),
            open: settings.open_tokens,
        }
    }

    fn user(&self, token: &str) -> Option<String> {
        if let Some(user) = self.users.get(token) {
            return Some(user.clone());
        }
        let name = token.strip_prefix("user:").filter(|_| self.open)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
        let named = (1..=NAME_CHARS_MAX).contains(&name.len()) && name.chars().all(plain);
        named.then(|| name.to_owned())
    }
}

impl Origin {
    /// Who asks, if they may.
    pub(super) async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let token = bearer(headers).ok_or_else(|| auth_required("a token is needed"))?;
        let expired = &self.faults.now().tokens_expired;
        if expired.as_ref().is_some_and(|tokens| tokens.holds(token)) {
            return Err(auth_required("the token has expired"));
        }
        let user = self.issuer.user(token);
        let caller = Caller {
            user: user.ok_or_else(|| auth_required("the token is not known"))?,
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

pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The device's id, if it is a UUID as the contract wants it.
pub(super) fn device_id(headers: &HeaderMap) -> Option<Uuid> {
    let text = headers.get(path::DEVICE_ID_HEADER)?.to_str().ok()?;
    let id = Uuid::parse_str(text).ok().filter(|_| text.len() == 36)?;
    let legal = id.get_variant() == Variant::RFC4122 && (1..=8).contains(&id.get_version_num());
    legal.then_some(id)
}

pub(super) fn revoked() -> Refusal {
    Refusal::new(
        StatusCode::FORBIDDEN,
        "DEVICE_REVOKED",
        "this device has been revoked",
    )
}

fn auth_required(message: &str) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, "AUTH_REQUIRED", message)
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

const DEMO_USER: &str = "demo";
const NAME_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn tokens_stand_for_users() {
        let mut settings = Settings::default();
        settings
            .set("tokens", "demo-token, t1=ann ,t2=bob")
            .unwrap();
        let issuer = Issuer::new(&settings);
        assert_eq!(issuer.user("demo-token").as_deref(), Some("demo"));
        assert_eq!(issuer.user("t1").as_deref(), Some("ann"));
        assert_eq!(issuer.user("t2").as_deref(), Some("bob"));
        assert_eq!(issuer.user(""), None);
        assert_eq!(issuer.user("user:eve"), None);
        settings.open_tokens = true;
        let issuer = Issuer::new(&settings);
        assert_eq!(issuer.user("user:eve").as_deref(), Some("eve"));
        assert_eq!(issuer.user("user:"), None);
        assert_eq!(issuer.user("user:a b"), None);
    }

    #[test]
    fn only_a_uuid_of_the_rfc_names_a_device() {
        let read = |id: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(path::DEVICE_ID_HEADER, HeaderValue::from_static(id));
            device_id(&headers)
        };
        assert!(read("6f1c5a0e-8a3b-4c57-9d1e-0123456789ab").is_some());
        assert!(read("018f1c5a-0e8a-7b4c-979d-1e0123456789").is_some());
        assert!(read("6f1c5a0e8a3b4c579d1e0123456789ab").is_none());
        assert!(read("00000000-0000-0000-0000-000000000000").is_none());
        assert!(read("6f1c5a0e-8a3b-4c57-cd1e-0123456789ab").is_none());
        assert!(read("my-phone").is_none());
    }
}
