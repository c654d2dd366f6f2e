//! The fast side on Redis: used tickets are known to every origin, and so is every announcement.
//!
//! One task keeps the link: a connection for commands and one that listens. Without it announcements
//! reach this process's streams alone, and tickets cannot be used up. That it works is shown by a message
//! that comes back, not by a connection that looks open.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use evenkeel_proto::wire::Cursor;
use futures_util::StreamExt;
use redis::aio::{MultiplexedConnection, PubSubStream};
use redis::{AsyncConnectionConfig, Client, FromRedisValue};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::{BoxFuture, Bus, BusHealth, LocalBus, Subscription, TicketUse};

/// Used tickets and announcements of every process that shares one Redis.
#[derive(Debug)]
pub struct RedisBus {
    link: Arc<Link>,
    keeping: JoinHandle<()>,
}

struct Link {
    client: Client,
    instance: Uuid,
    local: LocalBus,
    /// The connection for commands with its number, or why there is none.
    commands: watch::Sender<Result<(u64, MultiplexedConnection), String>>,
    /// The last connection that was found not to work.
    broken: watch::Sender<u64>,
    /// The last of this process's own beats that came back.
    heard: watch::Sender<u64>,
    beats: AtomicU64,
    gaps: AtomicU64,
}

/// What one origin tells the others.
#[derive(Serialize, Deserialize)]
struct Announcement {
    instance: Uuid,
    user: String,
    cursor: Cursor,
}

impl RedisBus {
    /// `url` is of the form `redis://[user:password@]host[:port][/db]`. Redis need not be there yet.
    /// `announcements_max` is how many may wait for the slowest stream of a user.
    ///
    /// # Errors
    ///
    /// The URL is not one of Redis; the text does not repeat it.
    pub fn start(url: &str, announcements_max: usize) -> Result<Self, String> {
        let link = Arc::new(Link {
            client: Client::open(url).map_err(|error| error.to_string())?,
            instance: Uuid::new_v4(),
            local: LocalBus::new(announcements_max),
            commands: watch::Sender::new(Err("connecting".to_owned())),
            broken: watch::Sender::new(0),
            heard: watch::Sender::new(0),
            beats: AtomicU64::new(0),
            gaps: AtomicU64::new(0),
        });
        let keeping = tokio::spawn(Arc::clone(&link).keep());
        Ok(Self { link, keeping })
    }
}

impl Drop for RedisBus {
    fn drop(&mut self) {
        self.keeping.abort();
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client's own form would show the password.
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Bus for RedisBus {
    fn consume_ticket(&self, id: Uuid, ttl: Duration) -> BoxFuture<'_, TicketUse> {
        Box::pin(async move {
            let mut set = redis::cmd("SET");
            let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
            set.arg(format!("evenkeel:ticket:{id}")).arg("used");
            set.arg("NX").arg("PX").arg(ttl_ms);
            match self.link.ask::<Option<String>>(&set).await {
                Ok(Some(_)) => TicketUse::Fresh,
                Ok(None) => TicketUse::Replayed,
                Err(why) => {
                    tracing::warn!(why, "a ticket cannot be used up");
                    TicketUse::Unavailable
                }
            }
        })
    }

    fn publish(&self, user: String, cursor: Cursor) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.link.local.publish(user.clone(), cursor).await;
            let announcement = Announcement {
                instance: self.link.instance,
                user,
                cursor,
            };
            // Nothing in it can fail to be written.
            let text = serde_json::to_string(&announcement).unwrap_or_default();
            let mut publish = redis::cmd("PUBLISH");
            publish.arg(CHANGES).arg(text);
            if let Err(why) = self.link.ask::<u64>(&publish).await {
                tracing::warn!(why, "an announcement stays in this process");
                // The other processes have not heard of it, and nobody else will tell them.
                self.link.gaps.fetch_add(1, Ordering::SeqCst);
            }
        })
    }

    fn subscribe(&self, user: &str) -> Subscription {
        self.link.local.subscribe(user)
    }

    fn listeners(&self) -> Vec<String> {
        self.link.local.listeners()
    }

    fn health(&self) -> BoxFuture<'_, BusHealth> {
        Box::pin(async move {
            let (replay_store, fan_out) =
                tokio::join!(self.link.try_replay_store(), self.link.try_fan_out());
            BusHealth {
                replay_store: replay_store.err(),
                fan_out: fan_out.err(),
                gaps: self.link.gaps.load(Ordering::SeqCst),
            }
        })
    }
}

impl Link {
    /// Keeps connecting, for ever.
    async fn keep(self: Arc<Self>) {
        for number in 1.. {
            match self.connect().await {
                Ok((commands, messages)) => {
                    tracing::info!("connected to Redis");
                    self.tell(Ok((number, commands)));
                    // Whatever was announced before this moment may not have been heard.
                    self.gaps.fetch_add(1, Ordering::SeqCst);
                    let why = self.listen(number, messages).await;
                    tracing::warn!(why, "the link to Redis is gone");
                    self.tell(Err(why.to_owned()));
                }
                Err(why) => self.tell(Err(why)),
            }
            sleep(RECONNECT_AFTER).await;
        }
    }

    fn tell(&self, commands: Result<(u64, MultiplexedConnection), String>) {
        // What was there before is of no use any more.
        drop(self.commands.send_replace(commands));
    }

    async fn connect(&self) -> Result<(MultiplexedConnection, PubSubStream), String> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER_MAX))
            .set_response_timeout(Some(ANSWER_MAX));
        let connecting = async {
            let commands = self
                .client
                .get_multiplexed_async_connection_with_config(&config)
                .await?;
            let mut listening = self.client.get_async_pubsub().await?;
            listening.subscribe(&[CHANGES, &self.beat()]).await?;
            Ok((commands, listening.into_on_message()))
        };
        match timeout(2 * ANSWER_MAX, connecting).await {
            Ok(connected) => connected.map_err(|error: redis::RedisError| error.to_string()),
            Err(_) => Err(NO_ANSWER.to_owned()),
        }
    }

    /// Hands on what the others announce, until the link breaks; why it did.
    async fn listen(&self, number: u64, mut messages: PubSubStream) -> &'static str {
        let beat = self.beat();
        let mut broken = self.broken.subscribe();
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                _ = broken.wait_for(|broken| *broken >= number) => return NO_ANSWER,
            };
            let Some(message) = message else {
                return "connection closed";
            };
            let payload = message.get_payload_bytes();
            if message.get_channel_name() == beat {
                let beat = std::str::from_utf8(payload).ok();
                if let Some(beat) = beat.and_then(|text| text.parse().ok()) {
                    self.heard.send_replace(beat);
                }
                continue;
            }
            match serde_json::from_slice::<Announcement>(payload) {
                Ok(told) if told.instance == self.instance => {}
                Ok(told) => self.local.publish(told.user, told.cursor).await,
                Err(error) => tracing::warn!(%error, "an announcement that is none"),
            }
        }
    }

    /// Asks Redis; a link that does not answer in time is built anew.
    async fn ask<T: FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, String> {
        let connection = self.commands.borrow().clone();
        let (number, mut connection) = connection?;
        let asked = timeout(ANSWER_MAX, command.query_async(&mut connection));
        let (broken, why) = match asked.await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => (error.is_io_error() || error.is_timeout(), error.to_string()),
            Err(_) => (true, NO_ANSWER.to_owned()),
        };
        if broken {
            self.give_up(number);
        }
        Err(why)
    }

    fn give_up(&self, number: u64) {
        self.broken.send_if_modified(|broken| {
            let newer = number > *broken;
            *broken = number.max(*broken);
            newer
        });
    }

    /// Writes as a ticket would be: a Redis that answers may still take no writes.
    async fn try_replay_store(&self) -> Result<(), String> {
        let mut set = redis::cmd("SET");
        set.arg(format!("evenkeel:health:{}", self.instance));
        set.arg("well").arg("PX").arg(10_000);
        self.ask::<String>(&set).await.map(drop)
    }

    /// Sends a beat and hears it come back.
    async fn try_fan_out(&self) -> Result<(), String> {
        let beat = self.beats.fetch_add(1, Ordering::SeqCst) + 1;
        let mut heard = self.heard.subscribe();
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(self.beat()).arg(beat);
        let number = self.commands.borrow().as_ref().map_or(0, |(n, _)| *n);
        self.ask::<u64>(&publish).await?;
        match timeout(ANSWER_MAX, heard.wait_for(|heard| *heard >= beat)).await {
            Ok(_) => Ok(()),
            Err(_) => {
                self.give_up(number);
                Err("announcements do not come back".to_owned())
            }
        }
    }

    fn beat(&self) -> String {
        format!("evenkeel:beat:{}", self.instance)
    }
}

const CHANGES: &str = "evenkeel:changes";
const NO_ANSWER: &str = "no answer in time";
const ANSWER_MAX: Duration = Duration::from_secs(1);
const RECONNECT_AFTER: Duration = Duration::from_millis(250);
