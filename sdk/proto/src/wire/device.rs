//! The devices of one account.

use serde::{Deserialize, Serialize};

use super::UnixMillis;
use super::lenient::or_default;

/// The answer to `GET /api/v2/devices`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceList {
    /// Every device the account ever had, revoked ones included.
    #[serde(default, deserialize_with = "or_default")]
    pub devices: Vec<Device>,
    /// Which of them asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_device_id: Option<String>,
}

/// One device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// The UUID that it sends as `X-Device-Id`.
    pub id: String,
    /// Its name for people.
    #[serde(default)]
    pub label: Option<String>,
    /// What it runs on.
    #[serde(default)]
    pub platform: Option<String>,
    /// When it last asked for something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen_at: Option<UnixMillis>,
    /// When it first asked for something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<UnixMillis>,
    /// Since when it is shut out, if it is.
    #[serde(default)]
    pub revoked_at: Option<UnixMillis>,
}

/// The answer to `POST /api/v2/devices/{id}/revoke`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevokeAnswer {
    /// Whether it is done.
    pub ok: bool,
    /// Which device is shut out now.
    pub revoked_device_id: String,
}
