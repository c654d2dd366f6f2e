//! What the service says when it says no.

use std::fmt;
use std::time::Duration;

use evenkeel_proto::wire::ErrorEnvelope;
use http::header::RETRY_AFTER;

use super::{Answer, Trouble, shown};

/// An answer of 400 or above in one of the service's forms.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// In the service's words (`circuit_open`), if it gave one.
    pub(crate) cause: Option<String>,
    /// `AUTH_REQUIRED` and the like.
    pub(crate) code: Option<String>,
    pub(crate) message: String,
    pub(crate) retry_after: Option<Duration>,
}

impl Refusal {
    /// What is in none of the service's forms is not the service's.
    pub(crate) fn read(answer: &Answer) -> Result<Self, Trouble> {
        let envelope = serde_json::from_value::<ErrorEnvelope>(answer.json()?);
        let envelope = envelope.map_err(|_| Trouble::not_the_service(answer.unreadable()))?;
        let cause = match &envelope {
            ErrorEnvelope::Service { error } => error.cause.as_deref().map(shown),
            _ => None,
        };
        let wait = answer.header(&RETRY_AFTER);
        let wait = wait.and_then(|text| text.trim().parse().ok());
        Ok(Self {
            status: answer.status,
            cause,
            code: envelope.code().map(shown),
            message: envelope.message().map(shown).unwrap_or_default(),
            retry_after: wait.map(Duration::from_secs),
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        for part in [&self.code, &self.cause].into_iter().flatten() {
            write!(f, " {part}")?;
        }
        if !self.message.is_empty() {
            write!(f, " ({})", self.message)?;
        }
        Ok(())
    }
}
