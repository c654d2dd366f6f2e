//! A life from its beginning to the state that it must come to.

use std::collections::BTreeMap;

use evenkeel::Replica;
use evenkeel::store::{Order, Query};
use evenkeel_proto::SyncState;
use evenkeel_proto::engine::{Hint, Input};

use crate::faults::Faults;
use crate::world::World;

impl World {
    pub(crate) async fn live(&mut self) -> Result<(), String> {
        if self.rng.bool() {
            self.faults = Faults::random(&mut self.rng);
        }
        let acts = self.rng.u32(5..40);
        for _ in 0..acts.min(self.life.acts_max) {
            self.act().await?;
            self.check()?;
            let ms = match self.rng.u8(0..8) {
                0..3 => self.rng.u64(0..50),
                3..6 => self.rng.u64(0..3_000),
                6 => self.rng.u64(0..40_000),
                _ => self.rng.u64(0..300_000),
            };
            self.run(ms).await?;
        }
        self.heal().await?;
        self.settle().await?;
        self.compare().await
    }

    /// Nothing goes wrong any more.
    async fn heal(&mut self) -> Result<(), String> {
        self.trace(|_| "all heals".into());
        self.faults = Faults::default();
        // What is still on its way was sent before that.
        self.run(ON_ITS_WAY_MS).await?;
        if self.rng.bool() {
            self.server.habits.refuses_poison = false;
            self.server.habits.body_bytes_max = 500_000;
        }
        for client in 0..self.clients.len() {
            self.clients[client].online = true;
            if self.clients[client].life.is_none() {
                self.start(client).await;
            }
            self.feed(client, Input::Resume).await;
            self.feed(client, Input::Hint(Hint::NetworkUp)).await;
            // News may have been lost: a new stream begins with a look.
            self.cut(client, None);
        }
        self.check()
    }

    /// Users decide what there is to decide, until all is quiet.
    async fn settle(&mut self) -> Result<(), String> {
        let before: u32 = self.clients.iter().map(|client| client.requests).sum();
        for _ in 0..ROUNDS_MAX {
            self.until_synced().await?;
            let asked = self.clients.iter().position(|client| {
                let backlog = client.life.as_ref().unwrap().store.backlog();
                backlog.conflicts + backlog.rejected > 0
            });
            let Some(client) = asked else {
                let after: u32 = self.clients.iter().map(|client| client.requests).sum();
                let sent = after - before;
                if sent > REQUESTS_MAX {
                    return Err(format!("{sent} requests until all was quiet"));
                }
                return Ok(());
            };
            self.decide(client).await;
            self.check()?;
        }
        Err(format!("not quiet after {ROUNDS_MAX} decisions"))
    }

    async fn until_synced(&mut self) -> Result<(), String> {
        // Late commits are looked for 10 s later.
        self.run(12_000).await?;
        let end = self.now + SYNCED_WITHIN_MS;
        while self.now < end {
            let synced = |world: &Self| {
                world.clients.iter().all(|client| {
                    let process = client.life.as_ref().unwrap();
                    let status = process.engine.status();
                    status.state == SyncState::Synced && process.store.backlog().waiting == 0
                })
            };
            if synced(self) {
                self.run(1_000).await?;
                if synced(self) {
                    return Ok(());
                }
            }
            self.run(1_000).await?;
        }
        let states = self.clients.iter().map(|client| {
            let process = client.life.as_ref().unwrap();
            format!(
                "{:?} {:?}",
                process.engine.status(),
                process.store.backlog()
            )
        });
        Err(format!("never synced: {:#?}", states.collect::<Vec<_>>()))
    }

    async fn compare(&mut self) -> Result<(), String> {
        let server = self.server.live();
        for client in 0..self.clients.len() {
            self.look(client).await;
            self.check()?;
            let open = self.clients[client].ghost.open(&self.server, client);
            if let Some(open) = open.values().flatten().next() {
                return Err(format!("{client} never saw to {open:?}"));
            }
            let process = self.process(client).unwrap();
            let status = *process.engine.status();
            let query = Query {
                order: Order::Id,
                ..Query::default()
            };
            let page = process.store.list(query).await.unwrap();
            let here = page.items.into_iter().map(|r| (r.id, r.fields));
            let here: BTreeMap<_, _> = here.collect();
            if here != server {
                return Err(format!("{client} has {here:?}\nthe server {server:?}"));
            }
            if status.pending + status.conflicts + status.rejected > 0 {
                return Err(format!("{client} says {status:?}"));
            }
        }
        Ok(())
    }
}

/// The longest time that a fault keeps a request or its answer.
const ON_ITS_WAY_MS: u64 = 60_000;
const SYNCED_WITHIN_MS: u64 = 20 * 60_000;
const ROUNDS_MAX: u32 = 40;
const REQUESTS_MAX: u32 = 600;
