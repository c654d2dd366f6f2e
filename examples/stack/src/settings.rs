//! Every limit and window of the contract, by name; the defaults are the contract's.
//!
//! The lower bounds are below what a deployment would accept, so that a test or a demo can shorten a
//! window instead of waiting for it.

use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Why a setting was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingError {
    /// There is no setting of this name: see [`Settings::all`].
    #[error("there is no setting {0:?}")]
    Unknown(String),
    /// The value cannot be read, or lies outside what the setting takes.
    #[error("{name} takes {expected}, not {value:?}")]
    Value {
        /// Which setting.
        name: &'static str,
        /// What it takes.
        expected: String,
        /// What it was given.
        value: String,
    },
    /// Not of the form `name=value`.
    #[error("expected name=value, not {0:?}")]
    Form(String),
}

/// One setting, for `--help`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingInfo {
    /// Its name, units last.
    pub name: &'static str,
    /// What it is for.
    pub doc: String,
    /// What it takes.
    pub takes: String,
    /// Its value where none is given.
    pub default: String,
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $name:ident: $kind:ty = $default:expr, $limits:expr;)+) => {
        /// Every limit and window of the service.
        ///
        /// ```
        /// use evenkeel_stack::Settings;
        /// let mut settings = Settings::default();
        /// settings.set("circuit_open_ms", "1500")?;
        /// assert_eq!(settings.circuit_open_ms, 1_500);
        /// # Ok::<(), evenkeel_stack::SettingError>(())
        /// ```
        #[derive(Clone, Debug, PartialEq)]
        pub struct Settings {
            $($(#[doc = $doc])+ pub $name: $kind,)+
        }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($name: <$kind>::from($default),)+ }
            }
        }

        impl Settings {
            /// Sets one setting by its name.
            ///
            /// # Errors
            ///
            /// No such setting, or not a value that it takes.
            pub fn set(&mut self, name: &str, value: &str) -> Result<(), SettingError> {
                match name {
                    $(stringify!($name) => {
                        self.$name = read(stringify!($name), value, &$limits)?;
                    })+
                    _ => return Err(SettingError::Unknown(name.to_owned())),
                }
                Ok(())
            }

            /// Every setting with what it is for, what it takes and its default.
            #[must_use]
            pub fn all() -> Vec<SettingInfo> {
                let defaults = Self::default();
                vec![$(SettingInfo {
                    name: stringify!($name),
                    doc: tidy(&[$($doc),+]),
                    takes: <$kind as Setting>::takes(&$limits),
                    default: defaults.$name.to_string(),
                },)+]
            }

            /// Whether every value, however it was set, is one that its setting takes.
            ///
            /// # Errors
            ///
            /// The first that is not.
            pub fn check(&self) -> Result<(), SettingError> {
                $(if !self.$name.within(&$limits) {
                    return Err(refused::<$kind>(
                        stringify!($name), &self.$name.to_string(), &$limits,
                    ));
                })+
                Ok(())
            }
        }
    };
}

settings! {
    /// Edge: how long to wait for the origin's response headers, each attempt.
    proxy_timeout_ms: u64 = 7_000u64, 10..=30_000;
    /// Edge: how many times a failed request to the origin is repeated (never for streams and tickets).
    proxy_retries: u64 = 1u64, 0..=1;
    /// Edge: the pause before that repeat.
    proxy_retry_backoff_ms: u64 = 180u64, 0..=5_000;
    /// Edge: how many failures in a row open the circuit.
    circuit_threshold: u64 = 3u64, 1..=20;
    /// Edge: how long an open circuit rejects.
    circuit_open_ms: u64 = 20_000u64, 50..=120_000;
    /// Edge: the largest request body.
    body_bytes_max: u64 = 512u64 * 1024, 32 * 1024..=10 * 1024 * 1024;

    /// Edge: the secret that the AI sessions' keys are encrypted under, `KEY_ENCRYPTION_SECRET`, of 32
    /// bytes at least; empty for a new one at each start. It can be changed while the edge runs.
    encryption_secret: Hidden = Hidden::default(), ();
    /// Edge: the secret before that, `KEY_ENCRYPTION_SECRET_PREV`; empty for none.
    encryption_secret_prev: Hidden = Hidden::default(), ();
    /// Edge: how long an AI session of a device lives.
    ai_session_ms: u64 = DAY_MS, 50..=30 * DAY_MS;
    /// Edge: how many AI requests a client may send in a window.
    ai_rate_limit_requests: u64 = 45u64, 1..=1_000_000;
    /// Edge: how long that window is.
    ai_rate_limit_window_ms: u64 = 60_000u64, 50..=3_600_000;
    /// Edge: how long to wait for the whole answer of the AI provider.
    provider_timeout_ms: u64 = 15_000u64, 10..=60_000;
    /// Edge: how many times a request to the AI provider that met a 5xx or no answer at all is repeated.
    provider_retries: u64 = 1u64, 0..=3;
    /// Edge: the pause before that repeat.
    provider_retry_backoff_ms: u64 = 180u64, 0..=5_000;
    /// Edge: how many failures of an AI provider in a row open its circuit.
    provider_circuit_threshold: u64 = 5u64, 1..=20;
    /// Edge: how long that circuit rejects.
    provider_circuit_open_ms: u64 = 30_000u64, 50..=120_000;

    /// Edge: offer HTTP/2 where it speaks TLS.
    http2: bool = true, ();

    /// Both: give cookies `Secure`, as where clients come over TLS; an edge that speaks TLS does so by
    /// itself, and so does the origin in the same process.
    cookie_secure: bool = false, ();
    /// Both: a token that is accepted, and the user it stands for: `token` or `token=user`, several
    /// with commas between. A token alone stands for the user `demo`.
    tokens: String = "demo-token", ();
    /// Both: accept `user:<name>` as a token of that user.
    open_tokens: bool = false, ();
    /// Origin: signs tickets; empty for a new one at each start.
    ticket_secret: Hidden = Hidden::default(), ();
    /// Origin: how long a ticket may be used.
    ticket_ttl_ms: u64 = 60_000u64, 50..=900_000;
    /// Origin: how the ticket travels.
    ticket_carrier: TicketCarrier = TicketCarrier::Cookie, ();
    /// Origin: the status of an answer that carries its ticket in the body.
    ticket_body_status: u64 = 200u64, 200..=201;
    /// Origin: the pause between heartbeats on a stream.
    heartbeat_ms: u64 = 20_000u64, 10..=600_000;
    /// Origin: the `retry:` field sent at the start of a stream; 0 for none.
    stream_retry_ms: u64 = 0u64, 0..=3_600_000;
    /// Origin: how many announcements may wait for one user's slowest stream; beyond, it hears only of
    /// the latest.
    stream_announcements_max: u64 = 64u64, 1..=4_096;
    /// Origin: the most changes in a page.
    page_changes_max: u64 = 500u64, 1..=500;
    /// Origin: how long changes can be pulled.
    retention_ms: u64 = 45u64 * DAY_MS, 1_000..=3_650 * DAY_MS;
    /// Origin: the most operations in a push.
    push_operations_max: u64 = 100u64, 1..=100;
    /// Origin: the most records in a bootstrap.
    bootstrap_notes_max: u64 = 5_000u64, 1..=5_000;
    /// Origin: how long the outcome of an operation is remembered by its request id.
    idempotency_ms: u64 = DAY_MS, 1..=30 * DAY_MS;
    /// Origin: how many requests a client may send in a window.
    rate_limit_requests: u64 = 180u64, 1..=1_000_000;
    /// Origin: how long that window is.
    rate_limit_window_ms: u64 = 60_000u64, 50..=3_600_000;
    /// Origin: what a client over its limit is answered.
    rate_limit_form: RateLimitForm = RateLimitForm::Plain, ();
    /// Origin: how cursors and versions are written.
    cursor_as: CursorForm = CursorForm::Number, ();
    /// Origin: what counts as ready.
    ready_mode: ReadyWhen = ReadyWhen::Strict, ();
    /// Origin: the most devices remembered for a user; the longest unseen are forgotten.
    devices_max: u64 = 1_000u64, 1..=100_000;
    /// Origin: the most connections to Postgres, where it has one.
    database_connections_max: u64 = 8u64, 1..=1_000;
    /// All: how many requests their logs remember.
    request_log_max: u64 = 20_000u64, 1..=1_000_000;
}

impl Settings {
    /// Sets one setting from `name=value`, as on a command line.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set), or no `=` there.
    pub fn set_pair(&mut self, pair: &str) -> Result<(), SettingError> {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| SettingError::Form(pair.to_owned()))?;
        self.set(name.trim(), value)
    }
}

/// A type that a setting may have.
trait Setting: Sized + Display + FromStr {
    type Limits;
    fn takes(limits: &Self::Limits) -> String;
    fn within(&self, limits: &Self::Limits) -> bool;
}

impl Setting for u64 {
    type Limits = RangeInclusive<Self>;

    fn takes(limits: &Self::Limits) -> String {
        format!("{} to {}", limits.start(), limits.end())
    }

    fn within(&self, limits: &Self::Limits) -> bool {
        limits.contains(self)
    }
}

impl Setting for bool {
    type Limits = ();

    fn takes((): &()) -> String {
        "true or false".to_owned()
    }

    fn within(&self, (): &()) -> bool {
        true
    }
}

impl Setting for String {
    type Limits = ();

    fn takes((): &()) -> String {
        "text".to_owned()
    }

    fn within(&self, (): &()) -> bool {
        true
    }
}

/// A setting that nobody may see: shows as `***`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Hidden {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl FromStr for Hidden {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Ok(text.into())
    }
}

impl Display for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "" } else { "***" })
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl Setting for Hidden {
    type Limits = ();

    fn takes((): &()) -> String {
        "text".to_owned()
    }

    fn within(&self, (): &()) -> bool {
        true
    }
}

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $text,)+ })
            }
        }

        impl FromStr for $name {
            type Err = ();

            fn from_str(text: &str) -> Result<Self, ()> {
                match text { $($text => Ok(Self::$variant),)+ _ => Err(()) }
            }
        }

        impl Setting for $name {
            type Limits = ();

            fn takes((): &()) -> String {
                [$($text),+].join(" or ")
            }

            fn within(&self, (): &()) -> bool {
                true
            }
        }
    };
}

choice! {
    /// How the ticket travels.
    TicketCarrier {
        /// In `Set-Cookie`, and back in `Cookie`.
        Cookie = "cookie",
        /// In the answer's body, and back as a query parameter.
        Body = "body",
    }
}

choice! {
    /// What a client over its limit is answered.
    RateLimitForm {
        /// 429 with the framework's own body.
        Plain = "plain",
        /// 500 `INTERNAL_ERROR` with the limit's headers.
        InternalError = "internal_error",
    }
}

choice! {
    /// How cursors and versions are written.
    CursorForm {
        /// As JSON numbers.
        Number = "number",
        /// As JSON strings.
        String = "string",
        /// In one answer so, in the next otherwise.
        Mixed = "mixed",
    }
}

choice! {
    /// What counts as ready.
    ReadyWhen {
        /// Database and Redis.
        Strict = "strict",
        /// The database alone.
        Degraded = "degraded",
    }
}

fn read<T: Setting>(
    name: &'static str,
    value: &str,
    limits: &T::Limits,
) -> Result<T, SettingError> {
    value
        .trim()
        .parse()
        .ok()
        .filter(|read: &T| read.within(limits))
        .ok_or_else(|| refused::<T>(name, value, limits))
}

fn refused<T: Setting>(name: &'static str, value: &str, limits: &T::Limits) -> SettingError {
    SettingError::Value {
        name,
        expected: T::takes(limits),
        value: value.to_owned(),
    }
}

/// Joins the lines of a doc comment.
pub(crate) fn tidy(lines: &[&str]) -> String {
    let lines: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
    lines.join(" ")
}

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_legal_and_are_listed() {
        let settings = Settings::default();
        settings.check().unwrap();
        let all = Settings::all();
        let timeout = all.iter().find(|s| s.name == "proxy_timeout_ms").unwrap();
        assert_eq!(timeout.default, "7000");
        assert_eq!(timeout.takes, "10 to 30000");
        for info in all {
            let mut copy = Settings::default();
            copy.set(info.name, &info.default).unwrap();
            assert_eq!(copy, settings, "{}", info.name);
        }
    }

    #[test]
    fn wrong_values_are_refused_with_what_is_taken() {
        let mut settings = Settings::default();
        let unknown = settings.set_pair("nothing=1").unwrap_err();
        assert_eq!(unknown, SettingError::Unknown("nothing".to_owned()));
        let form = settings.set_pair("cursor_as=roman").unwrap_err();
        assert_eq!(
            form.to_string(),
            "cursor_as takes number or string or mixed, not \"roman\""
        );
        assert!(settings.set("circuit_threshold", "0").is_err());
        assert!(settings.set_pair("circuit_threshold").is_err());
        settings.circuit_threshold = 99;
        assert!(settings.check().is_err());
    }

    #[test]
    fn a_secret_is_not_shown() {
        let mut settings = Settings::default();
        settings.set("encryption_secret", "s3cret").unwrap();
        assert_eq!(settings.encryption_secret.expose(), "s3cret");
        assert!(!format!("{settings:?}").contains("s3cret"));
    }

    #[test]
    fn a_value_may_hold_an_equals_sign() {
        let mut settings = Settings::default();
        settings.set_pair("tokens=a=alice,b=bob").unwrap();
        assert_eq!(settings.tokens, "a=alice,b=bob");
    }
}
