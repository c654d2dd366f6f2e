//! The origin's `/ready`, asked directly.

use std::time::Duration;

use evenkeel_proto::wire::{Ready, path};
use serde_json::Value;

use super::{Answer, Kind, Phase, Probe, Refusal, Request, Trouble, Way, shown};

/// What the origin said of itself.
#[derive(Clone, Debug)]
pub(crate) struct Readiness {
    pub(crate) status: u16,
    pub(crate) ready: Ready,
}

/// How one dependency is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Well,
    /// It works, but not as intended; with what is said about it.
    Degraded(String),
    Down(String),
    /// This build does not report it.
    NotTold,
}

impl Probe {
    /// `None` when nobody said where the origin is.
    pub(crate) async fn ready(&self) -> Option<(Result<Readiness, Trouble>, Way)> {
        let origin = self.origin.as_ref()?;
        let mut way = Way::default();
        let request = Request::get(path::READY).within(TIME_MAX);
        let answer = request.send(origin, &self.tls, BYTES_MAX, &mut way).await;
        Some((answer.and_then(|answer| Readiness::read(&answer)), way))
    }
}

impl Readiness {
    fn read(answer: &Answer) -> Result<Self, Trouble> {
        let value = answer.json()?;
        // Every field has a default, so that an answer of somebody else would read as one of ours.
        if !value.get("ok").is_some_and(Value::is_boolean) {
            if answer.status >= 500 && value.get("error").is_some() {
                let refusal = Refusal::read(answer)?;
                let message = format!("answered {refusal}");
                return Err(Trouble::new(Phase::Http, Kind::ServerError, message));
            }
            let message = format!("{} with JSON that is not /ready's", answer.status);
            return Err(Trouble::not_the_service(message));
        }
        let ready = serde_json::from_value(value)
            .map_err(|e| Trouble::not_the_service(format!("unreadable: {e}")))?;
        Ok(Self {
            status: answer.status,
            ready,
        })
    }

    /// 200, and it says so itself.
    pub(crate) fn is_ready(&self) -> bool {
        self.status == 200 && self.ready.ok
    }

    /// Every dependency by its name on the wire.
    pub(crate) fn dependencies(&self) -> [(&'static str, Health); 4] {
        [
            ("database", self.database()),
            ("redis", self.redis()),
            ("realtime", self.realtime()),
            ("streamTicket", self.stream_ticket()),
        ]
    }

    pub(crate) fn database(&self) -> Health {
        match &self.ready.dependencies.database {
            None => Health::NotTold,
            Some(database) if database.ok => Health::Well,
            Some(database) => {
                let error = database.other.get("lastErrorMessage");
                let error = error.and_then(Value::as_str).unwrap_or_default();
                Health::Down(said("not ok", error, None))
            }
        }
    }

    pub(crate) fn redis(&self) -> Health {
        let Some(redis) = &self.ready.dependencies.redis else {
            return Health::NotTold;
        };
        let state = redis.status.as_deref().unwrap_or("not ok");
        let error = redis.last_error_message.as_deref().unwrap_or_default();
        let words = said(state, error, redis.degraded_for_ms);
        match (redis.ok, redis.degraded) {
            (false, _) => Health::Down(words),
            (true, true) => Health::Degraded(words),
            (true, false) => Health::Well,
        }
    }

    pub(crate) fn realtime(&self) -> Health {
        match &self.ready.dependencies.realtime {
            None => Health::NotTold,
            Some(realtime) if realtime.degraded => {
                let reason = realtime.degraded_reason.as_deref().unwrap_or_default();
                let mode = realtime.mode.as_ref().map(ToString::to_string);
                let mode = mode.unwrap_or_else(|| "degraded".to_owned());
                Health::Degraded(said(&mode, reason, realtime.degraded_for_ms))
            }
            Some(_) => Health::Well,
        }
    }

    pub(crate) fn stream_ticket(&self) -> Health {
        match &self.ready.dependencies.stream_ticket {
            None => Health::NotTold,
            Some(store) if store.replay_store_available == Some(false) => {
                Health::Down("replay store not available".to_owned())
            }
            Some(store) if store.degraded => Health::Degraded("degraded".to_owned()),
            Some(_) => Health::Well,
        }
    }

    /// `GET /ready: 503, database ok, redis DOWN (…)`.
    pub(crate) fn words(&self) -> String {
        let mut words = format!("GET /ready: {}", self.status);
        if self.status == 200 && !self.ready.ok {
            words.push_str(" though it says it is not ready");
        }
        for (name, health) in self.dependencies() {
            let part = match health {
                Health::Well => format!(", {name} ok"),
                Health::Degraded(why) => format!(", {name} DEGRADED ({why})"),
                Health::Down(why) => format!(", {name} DOWN ({why})"),
                Health::NotTold => format!(", {name} not told"),
            };
            words.push_str(&part);
        }
        words
    }
}

fn said(state: &str, error: &str, for_ms: Option<u64>) -> String {
    let mut words = shown(state);
    if let Some(for_ms) = for_ms.filter(|ms| *ms > 0) {
        words.push_str(&format!(" for {:.1} s", for_ms as f64 / 1_000.0));
    }
    if !error.is_empty() {
        words.push_str(": ");
        words.push_str(&shown(error));
    }
    words
}

const BYTES_MAX: usize = 256 * 1024;
const TIME_MAX: Duration = Duration::from_secs(5);
