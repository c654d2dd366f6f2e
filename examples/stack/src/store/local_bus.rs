//! The fast side in this process's memory.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use evenkeel_proto::wire::Cursor;
use tokio::sync::broadcast;
use uuid::Uuid;

use super::{BoxFuture, Bus, BusHealth, Subscription, TicketUse};

/// Used tickets and announcements of one process.
#[derive(Debug)]
pub struct LocalBus {
    used: Mutex<Used>,
    streams: Mutex<HashMap<String, broadcast::Sender<Cursor>>>,
    announcements_max: usize,
}

#[derive(Debug, Default)]
struct Used {
    until: HashMap<Uuid, Instant>,
    sweep_at: usize,
}

impl LocalBus {
    /// `announcements_max` is how many may wait for the slowest stream of a user.
    #[must_use]
    pub fn new(announcements_max: usize) -> Self {
        Self {
            used: Mutex::default(),
            streams: Mutex::default(),
            announcements_max: announcements_max.max(1),
        }
    }

    fn consume(&self, id: Uuid, ttl: Duration) -> TicketUse {
        let now = Instant::now();
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        // Sweeping at each doubling keeps the cost constant per ticket and the size in proportion to the
        // tickets that are still alive.
        if used.until.len() >= used.sweep_at {
            used.until.retain(|_, until| *until > now);
            used.sweep_at = (used.until.len() * 2).max(SWEEP_TICKETS_MIN);
        }
        match used.until.insert(id, now + ttl) {
            None => TicketUse::Fresh,
            Some(_) => TicketUse::Replayed,
        }
    }
}

impl Bus for LocalBus {
    fn consume_ticket(&self, id: Uuid, ttl: Duration) -> BoxFuture<'_, TicketUse> {
        Box::pin(async move { self.consume(id, ttl) })
    }

    fn publish(&self, user: String, cursor: Cursor) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(sender) = streams.get(&user) {
                // Nobody listening is no failure: whoever comes later pulls first.
                let _ = sender.send(cursor);
            }
        })
    }

    fn subscribe(&self, user: &str) -> Subscription {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.retain(|_, sender| sender.receiver_count() > 0);
        let sender = streams
            .entry(user.to_owned())
            .or_insert_with(|| broadcast::Sender::new(self.announcements_max));
        Subscription::new(sender.subscribe())
    }

    fn listeners(&self) -> Vec<String> {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let open = streams.iter().filter(|(_, s)| s.receiver_count() > 0);
        open.map(|(user, _)| user.clone()).collect()
    }

    fn health(&self) -> BoxFuture<'_, BusHealth> {
        Box::pin(async { BusHealth::default() })
    }
}

const SWEEP_TICKETS_MIN: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_ticket_is_fresh_once() {
        let bus = LocalBus::new(4);
        let id = Uuid::new_v4();
        let ttl = Duration::from_secs(60);
        assert_eq!(bus.consume_ticket(id, ttl).await, TicketUse::Fresh);
        assert_eq!(bus.consume_ticket(id, ttl).await, TicketUse::Replayed);
    }

    #[tokio::test]
    async fn used_tickets_are_forgotten_once_they_have_expired() {
        let bus = LocalBus::new(4);
        for _ in 0..10 * SWEEP_TICKETS_MIN {
            bus.consume(Uuid::new_v4(), Duration::ZERO);
        }
        assert!(bus.used.lock().unwrap().until.len() <= SWEEP_TICKETS_MIN);
    }

    #[tokio::test]
    async fn a_slow_stream_hears_of_the_latest_and_nothing_piles_up() {
        let bus = LocalBus::new(4);
        let mut slow = bus.subscribe("ann");
        let other = bus.subscribe("bob");
        for cursor in 1..=1_000 {
            bus.publish("ann".to_owned(), Cursor(cursor)).await;
        }
        assert_eq!(slow.next().await, Some(Cursor(1_000)));
        bus.publish("ann".to_owned(), Cursor(1_001)).await;
        assert_eq!(slow.next().await, Some(Cursor(1_001)));
        assert!(other.receiver.is_empty());
    }
}
