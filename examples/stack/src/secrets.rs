//! The secrets that AI sessions are encrypted under, as an operator sets them: one that is active, and
//! for a time of overlap the one before it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evenkeel_proto::wire::Secret;
use serde::Serialize;
use uuid::Uuid;

use crate::settings::Settings;

/// Which secret, by the name that a deployment knows it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretName {
    /// `KEY_ENCRYPTION_SECRET`, the active one.
    Active,
    /// `KEY_ENCRYPTION_SECRET_PREV`, the one before.
    Previous,
}

impl SecretName {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Active, Self::Previous];

    /// The name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "KEY_ENCRYPTION_SECRET",
            Self::Previous => "KEY_ENCRYPTION_SECRET_PREV",
        }
    }

    /// The secret with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }
}

/// What may be told of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretState {
    /// There is none.
    Unset,
    /// It is shorter than 32 bytes: the edge does not use it.
    Invalid,
    /// It can be used.
    Set,
}

/// The edge's secrets, which can be changed while it runs; every clone is the same pair. They cannot be
/// read back.
#[derive(Clone, Debug)]
pub struct Secrets(Arc<Mutex<Pair>>);

#[derive(Debug)]
struct Pair {
    active: Option<Secret>,
    previous: Option<Secret>,
}

impl Default for Secrets {
    fn default() -> Self {
        Self::of(&Settings::default())
    }
}

impl Secrets {
    /// Those of the settings; a new active one where they have none.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        let given = |text: &str| (!text.is_empty()).then(|| Secret::new(text));
        let active = given(settings.encryption_secret.expose());
        let made = || Secret::new(format!("{}{}", Uuid::new_v4(), Uuid::new_v4()));
        Self(Arc::new(Mutex::new(Pair {
            active: Some(active.unwrap_or_else(made)),
            previous: given(settings.encryption_secret_prev.expose()),
        })))
    }

    /// Sets a secret, or takes it away; in force from the next request on.
    pub fn set(&self, name: SecretName, secret: Option<Secret>) {
        *self.lock().slot(name) = secret;
    }

    /// Makes the active secret the previous one, and this one active.
    pub fn rotate(&self, secret: Secret) {
        let mut pair = self.lock();
        pair.previous = pair.active.replace(secret);
    }

    /// What may be told of one of them.
    #[must_use]
    pub fn state(&self, name: SecretName) -> SecretState {
        match self.lock().slot(name) {
            None => SecretState::Unset,
            Some(secret) if secret.expose().len() < BYTES_MIN => SecretState::Invalid,
            Some(_) => SecretState::Set,
        }
    }

    /// One of them, if it can be used.
    pub(crate) fn usable(&self, name: SecretName) -> Option<Secret> {
        let secret = self.lock().slot(name).clone();
        secret.filter(|secret| secret.expose().len() >= BYTES_MIN)
    }

    fn lock(&self) -> MutexGuard<'_, Pair> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pair {
    const fn slot(&mut self, name: SecretName) -> &mut Option<Secret> {
        match name {
            SecretName::Active => &mut self.active,
            SecretName::Previous => &mut self.previous,
        }
    }
}

const BYTES_MIN: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_keeps_the_old_secret_for_the_overlap() {
        let secrets = Secrets::default();
        let first = secrets.usable(SecretName::Active).unwrap();
        assert_eq!(secrets.state(SecretName::Previous), SecretState::Unset);
        secrets.rotate(Secret::new("a".repeat(32)));
        assert_eq!(secrets.usable(SecretName::Previous), Some(first));
        secrets.set(SecretName::Previous, Some(Secret::new("short")));
        assert_eq!(secrets.state(SecretName::Previous), SecretState::Invalid);
        assert_eq!(secrets.usable(SecretName::Previous), None);
        assert!(!format!("{secrets:?}").contains("aaaa"));
    }
}
