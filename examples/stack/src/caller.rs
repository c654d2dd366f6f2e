//! Who asks: users by their tokens, devices by their ids.

use std::collections::HashMap;

use evenkeel_proto::wire::path;
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use uuid::{Uuid, Variant};

use crate::answer::Refusal;
use crate::faults::FaultSet;
use crate::settings::Settings;

/// Knows which token stands for whom.
#[derive(Debug)]
pub(crate) struct Issuer {
    users: HashMap<String, String>,
    open: bool,
}

impl Issuer {
    pub(crate) fn new(settings: &Settings) -> Self {
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

    /// The user whose token a request carries; `None` where it carries none.
    pub(crate) fn caller(
        &self,
        headers: &HeaderMap,
        faults: &FaultSet,
    ) -> Result<Option<String>, Refusal> {
        let Some(token) = bearer(headers) else {
            return Ok(None);
        };
        let expired = &faults.tokens_expired;
        if expired.as_ref().is_some_and(|tokens| tokens.holds(token)) {
            return Err(auth_required("the token has expired"));
        }
        let user = self.user(token);
        user.map(Some)
            .ok_or_else(|| auth_required("the token is not known"))
    }
}

pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The device's id, if it is a UUID as the contract wants it.
pub(crate) fn device_id(headers: &HeaderMap) -> Option<Uuid> {
    let text = headers.get(path::DEVICE_ID_HEADER)?.to_str().ok()?;
    let id = Uuid::parse_str(text).ok().filter(|_| text.len() == 36)?;
    let legal = id.get_variant() == Variant::RFC4122 && (1..=8).contains(&id.get_version_num());
    legal.then_some(id)
}

pub(crate) fn auth_required(message: &str) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, "AUTH_REQUIRED", message)
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
