//! What apps, users, networks and systems do.

use evenkeel::Failure;
use evenkeel::store::{Resolution, StoreError};
use evenkeel_proto::engine::{Hint, Input};
use serde_json::{Map, Value};

use crate::faults::Faults;
use crate::server::POISON;
use crate::world::World;

impl World {
    pub(crate) async fn act(&mut self) -> Result<(), String> {
        let client = self.rng.usize(0..self.clients.len());
        match self.rng.u8(0..100) {
            0..50 => self.write(client).await,
            50..58 => self.decide(client).await,
            58..66 => self.kill(client).await,
            66..69 => self.restart(client).await,
            69..72 => self.pause(client).await,
            72..78 => self.network(client).await,
            78..83 => self.write_at_the_service(),
            83..86 => {
                let keep = self.rng.usize(0..6);
                let now = self.now;
                self.server.prune(now, keep);
                self.trace(|_| format!("the log is pruned to {keep}"));
            }
            86..89 => self.cut(client, None::<Failure>),
            89..92 => {
                let ms = self.rng.u64(20..30) * 3_600_000;
                self.trace(|_| "everybody sleeps".into());
                self.sleep(ms).await?;
            }
            _ => {
                self.faults = match self.rng.u8(0..3) {
                    0 => Faults::default(),
                    _ => Faults::random(&mut self.rng),
                };
                self.trace(|world| format!("{:?}", world.faults));
            }
        }
        Ok(())
    }

    async fn write(&mut self, client: usize) {
        let Some(process) = self.process(client) else {
            return;
        };
        let store = process.store.clone();
        let id = (*self.rng.choice(&RECORDS).unwrap()).to_owned();
        let view = store.get(&id).await.unwrap();
        if self.conflicts(client, &id).await {
            // A write to a record in conflict decides it: the local side comes back as a whole.
            self.server.decided.insert((client, id.clone()));
        }
        let what = self.rng.u8(0..10);
        let done = match (what, &view) {
            (0, view) => store.delete(&id).await.map(|handle| {
                let known = view.as_ref().map(|record| record.version.0);
                (
                    known.map_or(0, |known| self.clients[client].ghost.deleted(&id, known)),
                    handle,
                )
            }),
            (1..=3, _) | (_, None) => {
                let fields = self.fields(client, 1);
                let writings = self.server.past.get(&id).map_or(0, Vec::len);
                let new_after = view.is_none().then_some(writings);
                let ghost = &mut self.clients[client].ghost;
                let put = store.put(&id, fields.clone()).await;
                put.map(|handle| (ghost.put(&id, &fields, new_after), handle))
            }
            _ => {
                let fields = self.fields(client, 0);
                let ghost = &mut self.clients[client].ghost;
                let patched = store.patch(&id, fields.clone()).await;
                patched.map(|handle| (ghost.patched(&id, &fields), handle))
            }
        };
        let (write, handle) = done.unwrap();
        self.trace(|_| format!("{client} writes {id} ({what}), write {write}"));
        let process = self.process(client).unwrap();
        process.handles.push((write, id, handle));
        if what == 0 {
            // Nothing of it may ever have left this device.
            self.take_back(client, write);
        }
        self.wrote(client);
        self.look(client).await;
    }

    /// A deletion that is acknowledged at once takes back what was never sent.
    fn take_back(&mut self, client: usize, write: u32) {
        let came = self.process(client).unwrap().verdicts();
        if came.iter().any(|(of, ..)| *of == write) {
            self.clients[client].ghost.nothing_to_do(write);
        }
    }

    /// New content for most fields of a record, or for one or two.
    fn fields(&mut self, client: usize, whole: u8) -> Map<String, Value> {
        let mut fields = Map::new();
        let poison = self.rng.u8(0..25) == 0;
        let long = self.rng.u8(0..12) == 0;
        for name in FIELDS {
            if self.rng.u8(0..10) < if whole == 1 { 8 } else { 3 } {
                let token = self.token(client, poison, long);
                fields.insert(name.to_owned(), token.into());
            }
        }
        if fields.is_empty() {
            let name = (*self.rng.choice(&FIELDS).unwrap()).to_owned();
            let token = self.token(client, poison, long);
            fields.insert(name, token.into());
        }
        fields
    }

    /// A content that nobody ever wrote before.
    fn token(&mut self, client: usize, poison: bool, long: bool) -> String {
        self.tokens += 1;
        let poison = if poison { POISON } else { "" };
        let length = if long { self.rng.usize(100..700) } else { 0 };
        format!("{client}.{}{poison}{}", self.tokens, "-".repeat(length))
    }

    async fn conflicts(&mut self, client: usize, id: &str) -> bool {
        let store = &self.process(client).unwrap().store;
        if evenkeel::Replica::backlog(store).conflicts == 0 {
            return false;
        }
        store.conflicts().await.unwrap().iter().any(|c| c.id == id)
    }

    /// The user looks at a conflict or at a parked write, and decides.
    pub(crate) async fn decide(&mut self, client: usize) {
        let Some(process) = self.process(client) else {
            return;
        };
        let store = process.store.clone();
        let conflicts = store.conflicts().await.unwrap();
        let rejected = store.rejected().await.unwrap();
        if let Some(conflict) = self.rng.choice(&conflicts).cloned() {
            let id = conflict.id;
            let resolution = match self.rng.u8(0..3) {
                0 => Resolution::KeepLocal,
                1 => Resolution::KeepServer,
                _ => {
                    let mut fields = self.fields(client, 0);
                    for side in [conflict.local, conflict.server].into_iter().flatten() {
                        for (name, value) in side.fields {
                            if FIELDS.contains(&name.as_str()) && self.rng.bool() {
                                fields.entry(name).or_insert(value);
                            }
                        }
                    }
                    Resolution::Merged(fields)
                }
            };
            self.trace(|_| format!("{client} decides {id}: {resolution:?}"));
            let done = store.resolve(&id, resolution.clone()).await;
            let ghost = &mut self.clients[client].ghost;
            let write = match &resolution {
                Resolution::Merged(fields) => ghost.put(&id, fields, None),
                Resolution::KeepServer => {
                    ghost.decided(&id);
                    0
                }
                _ => 0,
            };
            if resolution != Resolution::KeepServer {
                self.server.decided.insert((client, id.clone()));
            }
            let process = self.process(client).unwrap();
            process.handles.push((write, id, done.unwrap()));
        } else if let Some(parked) = self.rng.choice(&rejected).cloned() {
            let id = parked.id;
            if self.rng.bool() {
                self.trace(|_| format!("{client} sends {id} again"));
                let handle = store.retry(&id).await.unwrap();
                self.process(client).unwrap().handles.push((0, id, handle));
            } else {
                self.trace(|_| format!("{client} discards {id}"));
                self.clients[client].ghost.decided(&id);
                store.discard(&id).await.unwrap();
            }
        } else {
            let nothing = store.retry(RECORDS[0]).await.map(drop);
            assert_eq!(nothing, Err(StoreError::NotFound));
            return;
        }
        self.wrote(client);
        self.look(client).await;
    }

    async fn kill(&mut self, client: usize) {
        self.trace(|_| format!("{client} is killed"));
        self.clients[client].kill().await;
        let long = self.rng.u8(0..5) == 0;
        let ms = self.rng.u64(0..if long { 300_000 } else { 5_000 });
        self.restart_in(client, ms);
    }

    async fn restart(&mut self, client: usize) {
        self.trace(|_| format!("{client} stops"));
        self.clients[client].stop().await;
        let ms = self.rng.u64(0..20_000);
        self.restart_in(client, ms);
    }

    async fn pause(&mut self, client: usize) {
        let pauses = self.rng.bool();
        let input = if pauses {
            Input::Suspend
        } else {
            Input::Resume
        };
        self.trace(|_| format!("{client} {input:?}"));
        self.feed(client, input).await;
    }

    async fn network(&mut self, client: usize) {
        let online = self.rng.bool();
        self.clients[client].online = online;
        self.trace(|_| format!("{client} online: {online}"));
        if !online {
            self.cut(client, Some(crate::server::broken()));
        }
        if self.rng.bool() || online {
            let hint = if online {
                Hint::NetworkUp
            } else {
                Hint::NetworkDown
            };
            self.feed(client, Input::Hint(hint)).await;
        }
    }

    fn write_at_the_service(&mut self) {
        let id = *self.rng.choice(&RECORDS).unwrap();
        let field = *self.rng.choice(&FIELDS).unwrap();
        let token = self.token(9, false, false);
        let now = self.now;
        let done = self.server.write_itself(id, field, token, now);
        self.trace(|_| format!("the service writes {id}.{field}: {done}"));
    }
}

const RECORDS: [&str; 3] = ["r0", "r1", "r2"];
const FIELDS: [&str; 3] = ["a", "b", "c"];
