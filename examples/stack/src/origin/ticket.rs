//! Tickets: signed, short-lived, for one user on one device, good for one stream.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use evenkeel_proto::wire::{SameSite, Secret, SetCookie, TICKET_COOKIE, TicketAnswer, path};
use hmac::{Hmac, KeyInit, Mac};
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use uuid::Uuid;

use super::Origin;
use crate::answer::{self, Refusal};
use crate::clock::Clock;
use crate::hex::{hex, unhex};
use crate::settings::{Settings, TicketCarrier};
use crate::store::Caller;

/// What a ticket says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ticket {
    pub(super) id: Uuid,
    pub(super) user: String,
    pub(super) device: Uuid,
    pub(super) expires_at_ms: i64,
}

/// Issues tickets and knows its own again.
pub(super) struct TicketOffice {
    key: Vec<u8>,
    ttl: Duration,
}

/// Why a ticket is no good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadTicket {
    Invalid,
    Expired,
}

impl TicketOffice {
    pub(super) fn new(settings: &Settings) -> Self {
        let key = match settings.ticket_secret.expose() {
            "" => [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat(),
            secret => secret.as_bytes().to_vec(),
        };
        Self {
            key,
            ttl: Duration::from_millis(settings.ticket_ttl_ms),
        }
    }

    pub(super) const fn ttl(&self) -> Duration {
        self.ttl
    }

    fn issue(&self, caller: &Caller, now_ms: i64) -> Option<(Ticket, Secret)> {
        let ttl_ms = i64::try_from(self.ttl.as_millis()).ok()?;
        let ticket = Ticket {
            id: Uuid::new_v4(),
            user: caller.user.clone(),
            device: caller.device,
            expires_at_ms: now_ms.saturating_add(ttl_ms),
        };
        let claims = serde_json::to_vec(&ticket).ok()?;
        let signature = self.signer(&claims)?.finalize().into_bytes();
        let text = format!("{}.{}", hex(&claims), hex(&signature));
        Some((ticket, Secret::new(text)))
    }

    pub(super) fn read(&self, text: &str, now_ms: i64) -> Result<Ticket, BadTicket> {
        if text.len() > TICKET_CHARS_MAX {
            return Err(BadTicket::Invalid);
        }
        let (claims, signature) = text.split_once('.').ok_or(BadTicket::Invalid)?;
        let claims = unhex(claims).ok_or(BadTicket::Invalid)?;
        let signature = unhex(signature).ok_or(BadTicket::Invalid)?;
        let signer = self.signer(&claims).ok_or(BadTicket::Invalid)?;
        signer
            .verify_slice(&signature)
            .map_err(|_| BadTicket::Invalid)?;
        let ticket: Ticket = serde_json::from_slice(&claims).map_err(|_| BadTicket::Invalid)?;
        match ticket.expires_at_ms > now_ms {
            true => Ok(ticket),
            false => Err(BadTicket::Expired),
        }
    }

    fn signer(&self, claims: &[u8]) -> Option<Hmac<Sha256>> {
        let mut signer = Hmac::<Sha256>::new_from_slice(&self.key).ok()?;
        signer.update(claims);
        Some(signer)
    }
}

pub(super) async fn issue(
    State(origin): State<Arc<Origin>>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let caller = origin.caller(&headers).await?;
    let issued = origin.tickets.issue(&caller, Clock::true_ms());
    let (ticket, secret) = issued.ok_or_else(|| Refusal::internal("no ticket could be signed"))?;
    let expires_at = Some(origin.clock.shown(ticket.expires_at_ms));
    let tickets = &origin.counters.tickets;
    tickets.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    if origin.settings.ticket_carrier == TicketCarrier::Body {
        let status = match origin.settings.ticket_body_status {
            201 => StatusCode::CREATED,
            _ => StatusCode::OK,
        };
        let body = TicketAnswer::Body {
            ticket: secret,
            expires_at_ms: expires_at,
        };
        return Ok(answer::json(status, &body));
    }
    let cookie = SetCookie {
        name: TICKET_COOKIE.to_owned(),
        value: secret,
        path: Some(path::EVENTS.to_owned()),
        max_age: Some(answer::round_up(origin.tickets.ttl())),
        http_only: true,
        same_site: Some(SameSite::Lax),
        secure: origin.settings.cookie_secure,
    };
    let body = TicketAnswer::Cookie {
        ok: true,
        expires_at,
    };
    let mut response = answer::json(StatusCode::OK, &body);
    let header = HeaderValue::try_from(cookie.to_header());
    let header = header.map_err(|_| Refusal::internal("the ticket is not a header"))?;
    response.headers_mut().insert(SET_COOKIE, header);
    Ok(response)
}

const TICKET_CHARS_MAX: usize = 8_192;

#[cfg(test)]
mod tests {
    use super::*;

    fn office() -> TicketOffice {
        TicketOffice::new(&Settings::default())
    }

    fn caller() -> Caller {
        Caller {
            user: "ann".to_owned(),
            device: Uuid::new_v4(),
        }
    }

    #[test]
    fn a_ticket_is_read_back_until_it_expires() {
        let office = office();
        let caller = caller();
        let (ticket, secret) = office.issue(&caller, 1_000).unwrap();
        assert_eq!(office.read(secret.expose(), 60_999), Ok(ticket.clone()));
        assert_eq!((ticket.user, ticket.device), (caller.user, caller.device));
        let late = office.read(secret.expose(), 61_000);
        assert_eq!(late, Err(BadTicket::Expired));
    }

    #[test]
    fn anything_else_is_invalid() {
        let office = office();
        let (_, secret) = office.issue(&caller(), 0).unwrap();
        let (claims, signature) = secret.expose().split_once('.').unwrap();
        let (_, others) = TicketOffice::new(&Settings::default())
            .issue(&caller(), 0)
            .unwrap();
        let mut forged = claims.to_owned();
        forged.replace_range(40..41, if &claims[40..41] == "0" { "1" } else { "0" });
        for text in [
            String::new(),
            ".".to_owned(),
            claims.to_owned(),
            format!("{claims}."),
            format!("{claims}.{}", &signature[2..]),
            format!("{forged}.{signature}"),
            format!("{claims}.zz{}", &signature[2..]),
            others.expose().to_owned(),
            "é".repeat(40),
        ] {
            assert_eq!(office.read(&text, 0), Err(BadTicket::Invalid), "{text}");
        }
    }
}
