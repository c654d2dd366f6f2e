//! The way to the service and back: what is lost, late, doubled or held there.

use evenkeel::wire::PushRequest;
use evenkeel::{Cause, Cursor, Failure, PageBody, Replica};
use evenkeel_proto::Timestamp;
use evenkeel_proto::engine::{Input, StreamEvent};

use super::message::{Answer, Ask, Fate, What, named};
use super::{Asker, HEARTBEAT_MS, World};
use crate::faults::happens;
use crate::server::{Job, Step, answer, broken};

impl World {
    pub(super) fn on_post(&mut self, at: Asker, ask: Ask) {
        if self.waiting(at).is_none() {
            return;
        }
        self.clients[at.client].requests += 1;
        let faults = self.faults;
        let latency = if happens(&mut self.rng, faults.slow) {
            self.rng.u64(1_000..25_000)
        } else {
            self.rng.u64(2..300)
        };
        self.trace(|_| format!("{} asks {}", at.client, ask.name()));
        if matches!(ask, Ask::Token) {
            let (id, result) = (at.id, Ok(()));
            return self.at(
                latency,
                What::Tell(at, Input::TokenRefreshed { id, result }),
            );
        }
        if !self.clients[at.client].online || happens(&mut self.rng, faults.request_lost) {
            let lost = ask.failed(Failure::local(Cause::ConnectFailed, "scripted"), at.id);
            return self.at(latency, What::Came(at, lost));
        }
        let mut fate = Fate::Answered;
        if happens(&mut self.rng, faults.answer_lost) {
            fate = Fate::Failed;
        }
        if happens(&mut self.rng, faults.silence) {
            fate = Fate::Silent;
            if self.rng.bool() {
                return;
            }
        }
        if happens(&mut self.rng, faults.twice)
            && let Some(copy) = ask.copy()
        {
            let delay = self.rng.u64(2..25_000);
            self.at(delay, What::Arrive(at, copy, Fate::Silent));
        }
        self.at(latency, What::Arrive(at, ask, fate));
    }

    pub(super) fn on_arrive(&mut self, at: Asker, ask: Ask, fate: Fate) {
        if happens(&mut self.rng, self.faults.refused) {
            let failed = ask.failed(answer(503, "SERVICE_UNAVAILABLE"), at.id);
            return self.reply(at, fate, failed);
        }
        let id = at.id;
        match ask {
            Ask::Token => {}
            Ask::Ticket => {
                let result = Ok(Timestamp::from_millis(self.now + 60_000));
                self.reply(at, fate, Answer::Input(Input::Ticket { id, result }));
            }
            Ask::Stream => {
                let opened = Input::Opened { id, result: Ok(()) };
                self.reply(at, fate, Answer::Input(opened));
            }
            Ask::Pull(from, settles) => {
                let page = self.server.page(from);
                self.reply(at, fate, Answer::Page(from, settles, Ok(page)));
            }
            Ask::Snapshot(resume) => {
                let notes = self.server.notes();
                let delay = self.rng.u64(1..2_000);
                self.at(delay, What::SnapshotEnd(at, resume, notes, fate));
            }
            Ask::Push(batch) => {
                let operations = batch.operations.clone();
                match self.server.accept(at.client, operations, self.now) {
                    Ok(job) => self.on_work(at, Box::new(job), batch, fate),
                    Err(failure) => self.reply(at, fate, Answer::Push(batch, Err(failure))),
                }
            }
        }
    }

    pub(super) fn on_work(&mut self, at: Asker, mut job: Box<Job>, batch: PushRequest, fate: Fate) {
        let (faults, now) = (self.faults, self.now);
        match self.server.step(&mut job, &faults, &mut self.rng, now) {
            Step::Later(ms) => self.at(ms, What::Work(at, job, batch, fate)),
            Step::Done(answer) => {
                self.trace(|_| match &answer {
                    Ok(a) => format!(
                        "{} is told of {} applied, {} conflicts",
                        at.client,
                        a.applied.len(),
                        a.conflicts.len()
                    ),
                    Err(failure) => format!("{} is told {failure}", at.client),
                });
                self.reply(at, fate, Answer::Push(batch, answer));
            }
        }
    }

    /// Sends the answer on its way, or what the asker hears instead.
    pub(super) fn reply(&mut self, at: Asker, fate: Fate, answer: Answer) {
        let answer = match fate {
            Fate::Answered => answer,
            Fate::Failed => answer.replaced(broken(), at.id),
            Fate::Silent => return,
        };
        let slow = happens(&mut self.rng, self.faults.slow);
        let latency = self.rng.u64(2..if slow { 25_000 } else { 300 });
        self.at(latency, What::Came(at, answer));
    }

    pub(super) async fn on_came(&mut self, at: Asker, answer: Answer) {
        let Some(process) = self.waiting(at) else {
            return;
        };
        if let Answer::Input(input) = answer {
            return self.on_tell(at, input).await;
        }
        // From here on it is applied, whoever gives it up.
        let begin = process.applying_until;
        let slow = happens(&mut self.rng, self.faults.slow_apply);
        let takes = self.rng.u64(0..if slow { 20_000 } else { 3 });
        let end = begin.max(self.now) + takes;
        self.process(at.client).unwrap().applying_until = end;
        self.at(end - self.now, What::Apply(at, answer));
    }

    pub(super) async fn on_apply(&mut self, at: Asker, answer: Answer) {
        let Some(process) = self.asker(at) else {
            return;
        };
        let id = at.id;
        let store = process.store.clone();
        let twice = happens(&mut self.rng, self.faults.applied_twice);
        match answer {
            Answer::Input(_) => {}
            Answer::Page(from, settles, Ok(page)) => {
                self.trace(|_| {
                    let (changes, next) = (page.changes.len(), page.next_cursor);
                    format!(
                        "{} applies {changes} changes after {from}, to {next}",
                        at.client
                    )
                });
                let ended = page.changes.is_empty();
                let body = serde_json::to_vec(&page).unwrap();
                let page = || PageBody::from(body.clone()).settling(settles);
                if twice {
                    let _ = store.apply_page(from, page()).await;
                }
                let result = match store.apply_page(from, page()).await {
                    Ok((pulled, _)) => Ok(pulled),
                    Err(e) => Err(Failure::local(Cause::StoreFailed, e.to_string())),
                };
                self.tell(at, Input::Pulled { id, result });
                let held = self.process(at.client).unwrap().held;
                if ended && let Some(id) = held {
                    self.take_batch(Asker { id, ..at }).await;
                }
            }
            Answer::Page(_, _, Err(failure)) => {
                let result = Err(failure);
                self.tell(at, Input::Pulled { id, result });
            }
            Answer::Snapshot(resume, Ok(snapshot)) => {
                self.trace(|_| format!("{} takes a snapshot", at.client));
                let body = serde_json::to_vec(&snapshot).unwrap();
                if twice {
                    store.replace(body.clone().into(), resume).await.unwrap();
                }
                let replaced = store.replace(body.into(), resume).await;
                let result = Ok(replaced.unwrap().0);
                self.tell(at, Input::Snapshotted { id, result });
            }
            Answer::Snapshot(_, Err(failure)) => {
                let result = Err(failure);
                self.tell(at, Input::Snapshotted { id, result });
            }
            Answer::Push(batch, Ok(answer)) => {
                self.trace(|_| format!("{} applies the answer to {}", at.client, named(&batch)));
                // What was left out is counted by answers.
                let all = answer.applied.len() + answer.conflicts.len() == batch.operations.len();
                if twice && all {
                    let again = answer.clone();
                    store.apply_push(batch.clone(), again).await.unwrap();
                }
                store.apply_push(batch, answer).await.unwrap();
                self.pushed(at, Ok(()));
            }
            Answer::Push(batch, Err(failure)) => {
                if matches!(failure.cause, Cause::BadRequest | Cause::PayloadTooLarge) {
                    store.refuse_push(batch, failure.clone()).await.unwrap();
                }
                self.pushed(at, Err(failure));
            }
        }
        self.look(at.client).await;
    }

    pub(super) fn tell(&mut self, at: Asker, input: Input) {
        let delay = self.rng.u64(0..3);
        self.at(delay, What::Tell(at, input));
    }

    pub(super) async fn on_tell(&mut self, at: Asker, mut input: Input) {
        let Some(process) = self.waiting(at) else {
            return;
        };
        if let Input::Pushed { result, .. } = &mut input {
            // What waits now: a write since the answer has announced itself already.
            *result = result.clone().map(|_| process.store.backlog());
        }
        let opened = matches!(input, Input::Opened { result: Ok(()), .. });
        if opened {
            process.stream = Some(at.id);
        } else {
            process.flights.retain(|&id| id != at.id);
        }
        self.feed(at.client, input).await;
        if opened {
            self.at(1, What::Event(at, StreamEvent::Ready));
            self.at(HEARTBEAT_MS, What::Event(at, StreamEvent::Heartbeat));
        }
    }

    /// Ends a client's stream, if it has one.
    pub(crate) fn cut(&mut self, client: usize, failure: Option<Failure>) {
        if let Some(at) = self.stream_of(client) {
            self.at(0, What::Cut(at, failure));
        }
    }

    pub(super) fn stream_of(&self, client: usize) -> Option<Asker> {
        let client = &self.clients[client];
        let id = client.life.as_ref()?.stream?;
        let (client, life) = (client.me, client.lives);
        Some(Asker { client, life, id })
    }

    /// Announces what was committed, as badly as the faults want it.
    pub(super) fn spread(&mut self) {
        for cursor in std::mem::take(&mut self.server.news) {
            for client in 0..self.clients.len() {
                let Some(at) = self.stream_of(client) else {
                    continue;
                };
                let faults = self.faults;
                if happens(&mut self.rng, faults.stream_cut) {
                    let failure = self.rng.bool().then(broken);
                    self.cut(client, failure);
                }
                if happens(&mut self.rng, faults.news_lost) {
                    continue;
                }
                let repeats = 1 + u8::from(happens(&mut self.rng, faults.news_repeated));
                for _ in 0..repeats {
                    let late = happens(&mut self.rng, faults.news_late);
                    let delay = self.rng.u64(1..if late { 20_000 } else { 50 });
                    self.at(delay, What::Event(at, StreamEvent::Sync(Cursor(cursor))));
                }
            }
        }
    }
}
