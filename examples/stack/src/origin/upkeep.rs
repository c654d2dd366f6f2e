//! What the origin does without being asked: prune, and keep an eye on the bus.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use evenkeel_proto::wire::Cursor;

use super::Origin;
use crate::store::{BusHealth, DatabaseError};

/// How the bus has been.
#[derive(Debug, Default)]
pub(super) struct Vitals(Mutex<Pulse>);

/// The bus as it was last seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Pulse {
    pub(super) health: BusHealth,
    /// Since when Redis as a whole is away.
    pub(super) redis_since: Option<Instant>,
    /// Since when tickets cannot be used up.
    pub(super) tickets_since: Option<Instant>,
    pub(super) failures: u64,
}

impl Vitals {
    pub(super) fn note(&self, health: BusHealth) -> Pulse {
        let mut pulse = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = |away: bool, since: Option<Instant>| match away {
            true => since.or_else(|| Some(Instant::now())),
            false => None,
        };
        pulse.redis_since = since(health.fan_out.is_some(), pulse.redis_since);
        pulse.tickets_since = since(health.replay_store.is_some(), pulse.tickets_since);
        pulse.failures = match pulse.redis_since {
            Some(_) => pulse.failures + 1,
            None => 0,
        };
        pulse.health = health;
        pulse.clone()
    }
}

/// Runs until it is dropped.
pub(crate) async fn keep_up(origin: Arc<Origin>) {
    let mut faults = origin.faults.subscribe();
    let mut pruned_at: Option<Instant> = None;
    let mut gaps = 0;
    loop {
        let health = origin.look_at_bus().await.health;
        if health.fan_out.is_none() && health.gaps != gaps {
            match origin.announce_again().await {
                Ok(()) => gaps = health.gaps,
                Err(error) => tracing::warn!(%error, "cannot announce again yet"),
            }
        }
        let due = pruned_at.is_none_or(|at| at.elapsed() >= PRUNE_EVERY);
        if let Err(error) = origin.keep_log(due).await {
            tracing::warn!(%error, "upkeep");
        }
        if due {
            pruned_at = Some(Instant::now());
        }
        // A change of faults is looked at once; otherwise it is a slow round.
        let _ = tokio::time::timeout(LOOK_EVERY, faults.changed()).await;
    }
}

impl Origin {
    pub(super) async fn look_at_bus(&self) -> Pulse {
        self.vitals.note(self.bus.health().await)
    }

    /// Tells every stream here how far its user's log reaches: what others announced while the bus was
    /// away was not heard, and nobody will say it again.
    async fn announce_again(&self) -> Result<(), DatabaseError> {
        for user in self.bus.listeners() {
            let cursor = self.database.latest_cursor(user.clone()).await?;
            self.bus.publish(user, cursor).await;
        }
        Ok(())
    }

    async fn keep_log(&self, due: bool) -> Result<(), DatabaseError> {
        let retention = Duration::from_millis(self.settings.retention_ms);
        if due {
            self.database.prune(retention, Cursor::ZERO).await?;
        }
        let faults = self.faults.now();
        if let Some(through) = faults.changes_pruned_through {
            let done = self.database.prune(retention, Cursor(through)).await;
            self.faults.update(|f| f.changes_pruned_through = None);
            done?;
        }
        if let Some(to) = faults.database_restored_to {
            let done = self.database.restore(Cursor(to)).await;
            self.faults.update(|f| f.database_restored_to = None);
            done?;
        }
        Ok(())
    }
}

const LOOK_EVERY: Duration = Duration::from_secs(1);
const PRUNE_EVERY: Duration = Duration::from_secs(60);
