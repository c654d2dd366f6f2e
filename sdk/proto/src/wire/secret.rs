//! Texts that must never reach a log.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A ticket, a session or a key: goes over the wire as it is, shows as `***` everywhere else.
///
/// ```
/// use evenkeel_proto::wire::Secret;
/// let ticket = Secret::new("t0p");
/// assert_eq!(format!("{ticket:?}"), "***");
/// assert_eq!(ticket.expose(), "t0p");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the wire only.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
