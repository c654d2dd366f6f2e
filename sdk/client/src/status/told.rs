//! A status on its way to another process: with how long ago, instead of when, since processes have
//! no clock in common for sure.

use std::time::Duration;

use evenkeel_proto::engine::Backlog;
use evenkeel_proto::wire::Cursor;
use evenkeel_proto::{Ask, Cause, Layer, Lifecycle, Link, OutboxLevel, SyncState};
use serde::{Deserialize, Deserializer, Serialize};

use super::Status;
use crate::clock;
use crate::state::Moment;

/// What another process's client said.
#[derive(Deserialize)]
pub(crate) struct Told {
    at: Moment,
    status: Parts,
}

/// What is taken over of its status; a name that this build does not know is as good as none.
#[derive(Deserialize)]
struct Parts {
    #[serde(deserialize_with = "state")]
    state: SyncState,
    #[serde(deserialize_with = "link")]
    link: Link,
    #[serde(deserialize_with = "cause")]
    cause: Option<Cause>,
    #[serde(deserialize_with = "layer")]
    layer: Option<Layer>,
    in_state_for_ms: u64,
    attempt: u32,
    next_attempt_in_ms: Option<u64>,
    floor_from_server_ms: Option<u64>,
    last_proof_ago_ms: Option<u64>,
    cursor: Option<Cursor>,
    #[serde(deserialize_with = "ask")]
    ask: Ask,
}

impl Status {
    /// For other processes to read.
    pub(crate) fn told(&self) -> String {
        #[derive(Serialize)]
        struct Telling<'a> {
            at: Moment,
            status: &'a Status,
        }
        let telling = Telling {
            at: Moment::now(),
            status: self,
        };
        serde_json::to_string(&telling).unwrap_or_default()
    }

    /// Whether both say the same, but for what every process can count by itself.
    pub(crate) fn tells_as(&self, other: &Self) -> bool {
        let bare = |status: &Self| Self {
            version: 0,
            pending: 0,
            conflicts: 0,
            rejected: 0,
            outbox: OutboxLevel::Normal,
            ..status.clone()
        };
        bare(self) == bare(other)
    }
}

impl Told {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The status of a client that leaves the syncing to the one that told this.
    pub(crate) fn seen(&self, backlog: Backlog, version: u64) -> Status {
        let (now, ago) = (clock::now(), self.at.ago());
        let before = |ms: u64| now - (Duration::from_millis(ms) + ago);
        let after = |ms: u64| now + Duration::from_millis(ms).saturating_sub(ago);
        let told = &self.status;
        Status {
            version,
            state: told.state,
            lifecycle: Lifecycle::Running,
            syncs_here: false,
            link: told.link,
            cause: told.cause,
            layer: told.layer,
            attempt: told.attempt,
            cursor: told.cursor,
            ask: told.ask,
            since: before(told.in_state_for_ms),
            next_attempt_at: told.next_attempt_in_ms.map(after),
            floor_from_server: told.floor_from_server_ms.map(after),
            last_proof_at: told.last_proof_ago_ms.map(before),
            ..Status::initial(backlog)
        }
    }
}

fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(from)?.unwrap_or_default())
}

fn state<'de, D: Deserializer<'de>>(from: D) -> Result<SyncState, D::Error> {
    Ok(SyncState::from_name(&name(from)?).unwrap_or(SyncState::Syncing))
}

fn link<'de, D: Deserializer<'de>>(from: D) -> Result<Link, D::Error> {
    Ok(Link::from_name(&name(from)?).unwrap_or(Link::None))
}

fn cause<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Cause>, D::Error> {
    Ok(Cause::from_name(&name(from)?))
}

fn layer<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Layer>, D::Error> {
    Ok(Layer::from_name(&name(from)?))
}

fn ask<'de, D: Deserializer<'de>>(from: D) -> Result<Ask, D::Error> {
    Ok(Ask::from_name(&name(from)?).unwrap_or(Ask::None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_that_was_told_is_the_same_in_another_process() {
        let now = clock::now();
        let told = Status {
            state: SyncState::Degraded,
            cause: Some(Cause::CircuitOpen),
            layer: Some(Layer::Edge),
            attempt: 3,
            cursor: Some(Cursor(7)),
            ask: Ask::ReviewRejected,
            since: now - Duration::from_secs(40),
            next_attempt_at: Some(now + Duration::from_secs(20)),
            last_proof_at: Some(now - Duration::from_secs(60)),
            ..Status::initial(Backlog::default())
        };
        let backlog = Backlog {
            waiting: 2,
            ..Backlog::default()
        };
        let seen = Told::parse(&told.told()).unwrap().seen(backlog, 5);
        assert_eq!((seen.version, seen.pending), (5, 2));
        assert!(!seen.syncs_here);
        assert_eq!(seen.cause, told.cause);
        assert_eq!(seen.layer, told.layer);
        assert_eq!(
            (seen.attempt, seen.cursor, seen.ask),
            (3, told.cursor, told.ask)
        );
        let wait = seen.next_attempt_in().unwrap().as_secs();
        assert!((19..=20).contains(&wait), "{wait}");
        assert!(seen.in_state_for() >= Duration::from_secs(40));
        assert!(seen.last_proof_ago().unwrap() >= Duration::from_secs(60));
    }

    #[test]
    fn what_a_later_release_tells_is_read_as_far_as_it_goes() {
        let text = Status::initial(Backlog::default()).told();
        let text = text.replace("\"none\"", "\"through_the_ether\"");
        let seen = Told::parse(&text).unwrap().seen(Backlog::default(), 1);
        assert_eq!((seen.link, seen.ask), (Link::None, Ask::None));
        assert!(Told::parse("{}").is_none());
    }
}
