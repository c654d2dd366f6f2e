//! The session's cookie: kept apart from every other, in memory only.

use std::sync::Mutex;
use std::time::Duration;

use evenkeel_proto::Timestamp;
use evenkeel_proto::wire::{AI_SESSION_COOKIE, Secret, SetCookie};
use http::HeaderMap;

use crate::clock;
use crate::guard::locked;

#[derive(Default)]
pub(super) struct Jar(Mutex<Option<Held>>);

struct Held {
    value: Secret,
    until: Timestamp,
}

impl Jar {
    /// The session's cookie, unless its time is over.
    pub(super) fn value(&self) -> Option<Secret> {
        let held = locked(&self.0);
        let held = held.as_ref().filter(|held| held.until > clock::now());
        held.map(|held| held.value.clone())
    }

    pub(super) fn keep(&self, value: Secret) {
        self.put(value, LIFETIME);
    }

    pub(super) fn forget(&self) {
        *locked(&self.0) = None;
    }

    /// What an answer says of it.
    pub(super) fn read(&self, headers: &HeaderMap) {
        // It goes to the sessions' paths and to the tasks': one for less is somebody else's.
        let Some(cookie) = SetCookie::find_for(headers, AI_SESSION_COOKIE, COMMON_PATH) else {
            return;
        };
        match cookie.max_age {
            Some(Duration::ZERO) => self.forget(),
            age => self.put(cookie.value, age.unwrap_or(LIFETIME)),
        }
    }

    fn put(&self, value: Secret, age: Duration) {
        let until = clock::now() + age;
        *locked(&self.0) = Some(Held { value, until });
    }
}

/// Where all paths of the AI are.
const COMMON_PATH: &str = "/api/v1";
/// The contract's.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);
