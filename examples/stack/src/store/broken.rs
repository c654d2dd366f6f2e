//! Both sides of the seam, with the faults that are switched on in front of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evenkeel_proto::wire::{BootstrapAnswer, Cursor, Device, PullPage, Record};
use uuid::Uuid;

use super::{
    BoxFuture, Bus, BusHealth, Caller, Database, DatabaseError, DeviceState, Push, Pushed,
    Subscription, TicketUse,
};
use crate::faults::{DatabaseFault, Faults};

/// A database that can be told to be away.
#[derive(Debug)]
pub(crate) struct BreakableDatabase {
    inner: Arc<dyn Database>,
    faults: Faults,
}

impl BreakableDatabase {
    pub(crate) const fn new(inner: Arc<dyn Database>, faults: Faults) -> Self {
        Self { inner, faults }
    }

    fn reading(&self) -> Result<(), DatabaseError> {
        match self.faults.now().database_down {
            Some(DatabaseFault::Reads | DatabaseFault::All) => Err(away("connection refused")),
            _ => Ok(()),
        }
    }

    fn writing(&self) -> Result<(), DatabaseError> {
        match self.faults.now().database_down {
            Some(DatabaseFault::Writes) => Err(away("cannot write in a read-only transaction")),
            Some(DatabaseFault::All) => Err(away("connection refused")),
            _ => Ok(()),
        }
    }
}

fn away(why: &str) -> DatabaseError {
    DatabaseError::Away(why.to_owned())
}

impl Database for BreakableDatabase {
    fn greet(&self, caller: Caller) -> BoxFuture<'_, Result<DeviceState, DatabaseError>> {
        Box::pin(async move {
            // Which device asks matters for every request, reading or writing: it only fails when
            // nothing works.
            match self.faults.now().database_down {
                Some(DatabaseFault::All) => Err(away("connection refused")),
                _ => self.inner.greet(caller).await,
            }
        })
    }

    fn pull(
        &self,
        user: String,
        after: Cursor,
        changes_max: u64,
    ) -> BoxFuture<'_, Result<PullPage, DatabaseError>> {
        Box::pin(async move {
            self.reading()?;
            self.inner.pull(user, after, changes_max).await
        })
    }

    fn take_numbers(&self, count: u64) -> BoxFuture<'_, Result<Vec<Cursor>, DatabaseError>> {
        Box::pin(async move {
            self.writing()?;
            self.inner.take_numbers(count).await
        })
    }

    fn push_batch(&self, push: Push) -> BoxFuture<'_, Result<Pushed, DatabaseError>> {
        Box::pin(async move {
            self.writing()?;
            self.inner.push_batch(push).await
        })
    }

    fn snapshot(
        &self,
        user: String,
        include_deleted: bool,
    ) -> BoxFuture<'_, Result<Vec<Record>, DatabaseError>> {
        Box::pin(async move {
            self.reading()?;
            self.inner.snapshot(user, include_deleted).await
        })
    }

    fn latest_cursor(&self, user: String) -> BoxFuture<'_, Result<Cursor, DatabaseError>> {
        Box::pin(async move {
            self.reading()?;
            self.inner.latest_cursor(user).await
        })
    }

    fn bootstrap(
        &self,
        caller: Caller,
        notes: Vec<Record>,
        fingerprint: String,
    ) -> BoxFuture<'_, Result<BootstrapAnswer, DatabaseError>> {
        Box::pin(async move {
            self.writing()?;
            self.inner.bootstrap(caller, notes, fingerprint).await
        })
    }

    fn devices(&self, user: String) -> BoxFuture<'_, Result<Vec<Device>, DatabaseError>> {
        Box::pin(async move {
            self.reading()?;
            self.inner.devices(user).await
        })
    }

    fn revoke(&self, user: String, device: Uuid) -> BoxFuture<'_, Result<bool, DatabaseError>> {
        Box::pin(async move {
            self.writing()?;
            self.inner.revoke(user, device).await
        })
    }

    fn prune(
        &self,
        older_than: Duration,
        through: Cursor,
    ) -> BoxFuture<'_, Result<(), DatabaseError>> {
        Box::pin(async move { self.inner.prune(older_than, through).await })
    }

    fn restore(&self, to: Cursor) -> BoxFuture<'_, Result<(), DatabaseError>> {
        Box::pin(async move { self.inner.restore(to).await })
    }

    fn health(&self) -> BoxFuture<'_, Result<(), DatabaseError>> {
        Box::pin(async move {
            match self.faults.now().database_down {
                Some(DatabaseFault::All) => Err(away("connection refused")),
                _ => self.inner.health().await,
            }
        })
    }
}

/// A fast side that can be told to be away, or to muddle its announcements.
#[derive(Debug)]
pub(crate) struct BreakableBus {
    inner: Arc<dyn Bus>,
    faults: Faults,
    held: Mutex<HashMap<String, Cursor>>,
}

impl BreakableBus {
    pub(crate) fn new(inner: Arc<dyn Bus>, faults: Faults) -> Self {
        Self {
            inner,
            faults,
            held: Mutex::default(),
        }
    }
}

impl Bus for BreakableBus {
    fn consume_ticket(&self, id: Uuid, ttl: Duration) -> BoxFuture<'_, TicketUse> {
        Box::pin(async move {
            let faults = self.faults.now();
            match faults.redis_down || faults.replay_store_down {
                true => TicketUse::Unavailable,
                false => self.inner.consume_ticket(id, ttl).await,
            }
        })
    }

    fn publish(&self, user: String, cursor: Cursor) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let faults = self.faults.now();
            if faults.announcements_missing {
                return;
            }
            let held = {
                let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
                let before = held.remove(&user);
                if faults.announcements_reordered && before.is_none() {
                    held.insert(user, cursor);
                    return;
                }
                before
            };
            let times = 1 + usize::from(faults.announcements_duplicated);
            for cursor in [Some(cursor), held].into_iter().flatten() {
                for _ in 0..times {
                    self.inner.publish(user.clone(), cursor).await;
                }
            }
        })
    }

    fn subscribe(&self, user: &str) -> Subscription {
        self.inner.subscribe(user)
    }

    fn listeners(&self) -> Vec<String> {
        self.inner.listeners()
    }

    fn health(&self) -> BoxFuture<'_, BusHealth> {
        Box::pin(async move {
            let faults = self.faults.now();
            let mut health = self.inner.health().await;
            if faults.redis_down {
                let why = "connect ECONNREFUSED".to_owned();
                health.replay_store = Some(why.clone());
                health.fan_out = Some(why);
            } else if faults.replay_store_down {
                health.replay_store = Some("the replay store does not answer".to_owned());
            }
            health
        })
    }
}
