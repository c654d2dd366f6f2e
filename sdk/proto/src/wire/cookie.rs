//! The two cookies of the contract, handled by hand: a jar would send them where they do not belong.

use std::fmt::Write as _;
use std::time::Duration;

use http::HeaderMap;
use http::header::SET_COOKIE;

use super::Secret;

/// Carries a stream ticket.
pub const TICKET_COOKIE: &str = "pb_stream_ticket";

/// Carries an AI session of this device.
pub const AI_SESSION_COOKIE: &str = "pb_ai_session";

/// One `Set-Cookie` header.
///
/// ```
/// use evenkeel_proto::wire::{SetCookie, TICKET_COOKIE};
/// let header = "pb_stream_ticket=abc; Path=/api/v2/events; HttpOnly; SameSite=Lax; Max-Age=60";
/// let cookie = SetCookie::parse(header).ok_or("unreadable")?;
/// assert_eq!(cookie.name, TICKET_COOKIE);
/// assert_eq!(cookie.value.expose(), "abc");
/// assert_eq!(cookie.to_header(), header);
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetCookie {
    /// Its name.
    pub name: String,
    /// What it carries.
    pub value: Secret,
    /// Below which path it may be sent.
    pub path: Option<String>,
    /// How long it lives from its arrival; zero for one that is being taken back.
    pub max_age: Option<Duration>,
    /// No script may read it.
    pub http_only: bool,
    /// Which requests of other sites may carry it.
    pub same_site: Option<SameSite>,
    /// Only over TLS.
    pub secure: bool,
}

/// Which requests of other sites may carry a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// None.
    Strict,
    /// Only navigation.
    Lax,
    /// All.
    None,
}

impl SetCookie {
    /// Reads one header; `None` for one without a usable name and value. Attributes that are unknown
    /// or unreadable are skipped, of repeated ones the last counts.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.split(';');
        let (name, value) = parts.next()?.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        let usable = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        if !usable(name) || !usable(value) || value.len() > VALUE_BYTES_MAX {
            return None;
        }
        let mut cookie = Self {
            name: name.to_owned(),
            value: Secret::new(value),
            path: None,
            max_age: None,
            http_only: false,
            same_site: None,
            secure: false,
        };
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            cookie.attribute(name.trim(), value.trim());
        }
        Some(cookie)
    }

    /// The last usable cookie with this name among an answer's headers.
    #[must_use]
    pub fn find(headers: &HeaderMap, name: &str) -> Option<Self> {
        Self::find_where(headers, |cookie| cookie.name == name)
    }

    /// The last usable cookie with this name that is meant for this path.
    #[must_use]
    pub fn find_for(headers: &HeaderMap, name: &str, path: &str) -> Option<Self> {
        Self::find_where(headers, |cookie| cookie.name == name && cookie.is_for(path))
    }

    /// Whether it may be sent to this path: the same as its own, or one below that.
    #[must_use]
    pub fn is_for(&self, path: &str) -> bool {
        let own = self.path.as_deref().unwrap_or("/");
        let below = path.strip_prefix(own);
        below.is_some_and(|rest| rest.is_empty() || own.ends_with('/') || rest.starts_with('/'))
    }

    fn find_where(headers: &HeaderMap, wanted: impl Fn(&Self) -> bool) -> Option<Self> {
        headers
            .get_all(SET_COOKIE)
            .iter()
            .filter_map(|value| Self::parse(value.to_str().ok()?))
            .rfind(wanted)
    }

    /// The header's value, secret included.
    #[must_use]
    pub fn to_header(&self) -> String {
        let mut header = format!("{}={}", self.name, self.value.expose());
        if let Some(path) = &self.path {
            header.push_str("; Path=");
            header.push_str(path);
        }
        if self.http_only {
            header.push_str("; HttpOnly");
        }
        if let Some(same_site) = self.same_site {
            header.push_str(match same_site {
                SameSite::Strict => "; SameSite=Strict",
                SameSite::Lax => "; SameSite=Lax",
                SameSite::None => "; SameSite=None",
            });
        }
        if let Some(max_age) = self.max_age {
            let _ = write!(header, "; Max-Age={}", max_age.as_secs());
        }
        if self.secure {
            header.push_str("; Secure");
        }
        header
    }

    fn attribute(&mut self, name: &str, value: &str) {
        match name.to_ascii_lowercase().as_str() {
            "path" if value.starts_with('/') => self.path = Some(value.to_owned()),
            "max-age" => self.max_age = max_age(value).or(self.max_age),
            "httponly" => self.http_only = true,
            "secure" => self.secure = true,
            "samesite" => {
                self.same_site = match value.to_ascii_lowercase().as_str() {
                    "strict" => Some(SameSite::Strict),
                    "lax" => Some(SameSite::Lax),
                    "none" => Some(SameSite::None),
                    _ => self.same_site,
                }
            }
            _ => {}
        }
    }
}

fn max_age(value: &str) -> Option<Duration> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seconds = if digits.len() < value.len() {
        0
    } else {
        digits.parse().unwrap_or(AGE_SECONDS_MAX)
    };
    Some(Duration::from_secs(seconds.min(AGE_SECONDS_MAX)))
}

const VALUE_BYTES_MAX: usize = 4096;
const AGE_SECONDS_MAX: u64 = 400 * 24 * 3600;
