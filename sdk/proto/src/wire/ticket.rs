//! The answer that grants a stream.

use serde::{Deserialize, Deserializer, Serialize, de};

use super::{Secret, UnixMillis};

/// The answer to `POST /api/v2/events/ticket`, in both flavours. The time is on the service's clock:
/// read it against the answer's `Date`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum TicketAnswer {
    /// The ticket is in the answer's `Set-Cookie`.
    #[serde(rename_all = "camelCase")]
    Cookie {
        /// Always true on the wire.
        ok: bool,
        /// Until when the ticket may be used.
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_at: Option<UnixMillis>,
    },
    /// The ticket is here, to be sent as a query parameter.
    Body {
        /// The ticket.
        ticket: Secret,
        /// Until when the ticket may be used.
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_at_ms: Option<UnixMillis>,
    },
}

impl TicketAnswer {
    /// Until when the ticket may be used, where the service said so.
    #[must_use]
    pub const fn expires_at(&self) -> Option<UnixMillis> {
        match self {
            Self::Cookie { expires_at, .. } => *expires_at,
            Self::Body { expires_at_ms, .. } => *expires_at_ms,
        }
    }
}

impl<'de> Deserialize<'de> for TicketAnswer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Raw::deserialize(deserializer)?;
        let expires_at = raw.expires_at.or(raw.expires_at_ms);
        match (raw.ticket, raw.ok) {
            (Some(ticket), _) if !ticket.expose().is_empty() => Ok(Self::Body {
                ticket,
                expires_at_ms: raw.expires_at_ms.or(raw.expires_at),
            }),
            (_, Some(false)) => Err(de::Error::custom("no ticket granted (`ok` is false)")),
            _ => Ok(Self::Cookie {
                ok: true,
                expires_at,
            }),
        }
    }
}

#[derive(Deserialize)]
struct Raw {
    ok: Option<bool>,
    ticket: Option<Secret>,
    #[serde(rename = "expiresAt")]
    expires_at: Option<UnixMillis>,
    #[serde(rename = "expires_at_ms", alias = "expiresAtMs")]
    expires_at_ms: Option<UnixMillis>,
}
