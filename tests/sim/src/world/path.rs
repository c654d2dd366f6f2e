//! The way of a request: edge, origin, and back.

use std::time::Duration;

use evenkeel_proto::Cause;

use super::{Answer, DEVICES, What, World, put};
use crate::client::{Client, Lane, News, Request};
use crate::service::{EDGE_RETRY, Edge, Fate, OPEN_FOR, RATE_LIMIT};
use crate::wheel::Ms;

impl<C: Client> World<'_, C> {
    pub(super) fn edge_of(&mut self, client: u32) -> &mut Edge {
        &mut self.edges[usize::from(self.peers[client as usize].edge)]
    }

    /// One edge's share of the origin, in requests a second.
    pub(super) fn share(&self) -> f64 {
        self.size.capacity_per_s / f64::from(self.size.edges)
    }

    /// In how many seconds the service would like to see this one again: 0 where it does not say.
    pub(super) fn place(&mut self, now: Ms, client: u32) -> u32 {
        let share = self.share();
        if self.scenario.helps {
            self.edge_of(client).give_place(now, share)
        } else {
            0
        }
    }

    /// A service that helps keeps each stream's `retry:` up to date, with the heartbeats.
    pub(super) fn say_retry(&mut self, now: Ms, client: u32) {
        if self.scenario.helps {
            let share = self.share();
            let field = Duration::from_secs(self.edge_of(client).time_to_return(share).into());
            self.clients[client as usize].hear(now, News::Retry(field));
        }
    }

    pub(super) fn answer(
        &mut self,
        now: Ms,
        client: u32,
        generation: u8,
        request: Request,
        answer: Answer,
    ) {
        let what = What::Arrive(request, answer);
        let at = now + self.delay(client);
        put(&mut self.wheel, at, client, generation, what);
    }

    pub(super) fn at_edge(
        &mut self,
        now: Ms,
        client: u32,
        generation: u8,
        request: Request,
        value: u32,
    ) {
        let refused = if !self.edges_up {
            Some(Answer::failed(Cause::ConnectFailed, 0))
        } else if let Some(wait) = self.maintenance {
            Some(Answer::failed(Cause::ServerError, wait.into()))
        } else if !self.configured {
            Some(Answer::failed(Cause::OriginUnconfigured, 0))
        } else {
            self.edge_of(client).rejects(now).map(|left| {
                let wait = left.div_ceil(1_000).max(self.place(now, client));
                Answer::failed(Cause::CircuitOpen, wait)
            })
        };
        match refused {
            Some(answer) => self.answer(now, client, generation, request, answer),
            None => self.at_origin(now, client, generation, request, value, false),
        }
    }

    pub(super) fn at_origin(
        &mut self,
        now: Ms,
        client: u32,
        generation: u8,
        request: Request,
        value: u32,
        again: bool,
    ) {
        self.record.at_origin(now);
        let (mut at, mut answer) = match self.origin.take(now) {
            Fate::Served(at) => (at, self.serve(now, client, request, value)),
            Fate::Failed(at, cause) => (at, Answer::failed(cause, 0)),
        };
        if let Some(cause) = answer.trouble {
            self.record.failed(now);
            let retried = matches!(cause, Cause::NetworkError | Cause::Upstream5xx);
            if retried && !again && request.lane() != Lane::Stream {
                at += EDGE_RETRY;
                let what = What::AtOrigin(request, value, true);
                put(&mut self.wheel, at, client, generation, what);
                return;
            }
            // The edge's word for its own failures; of the origin's only where that said something.
            if answer.wait == 0 && matches!(cause, Cause::NetworkError | Cause::Timeout) {
                answer.wait = (OPEN_FOR / 1_000) as u16;
            }
        }
        let what = What::BackAtEdge(request, answer);
        put(&mut self.wheel, at, client, generation, what);
    }

    /// What a working origin says.
    pub(super) fn serve(&mut self, now: Ms, client: u32, request: Request, value: u32) -> Answer {
        let minute = (now / 60_000) as u16;
        let peer = &mut self.peers[client as usize];
        if peer.minute != minute {
            peer.minute = minute;
            peer.requests = 0;
        }
        peer.requests += 1;
        if peer.requests > RATE_LIMIT {
            self.record.limited();
            return Answer::failed(Cause::RateLimited, 60 - now / 1_000 % 60);
        }
        let user = (client / DEVICES) as usize;
        let mut answer = Answer {
            trouble: None,
            wait: 0,
            changes: 0,
            value: 0,
        };
        match request {
            Request::Ticket => {}
            Request::Events if !self.origin.tickets || self.streams >= self.origin.streams_max => {
                return Answer::failed(Cause::Upstream5xx, 0);
            }
            Request::Events => answer.value = self.origin.epoch,
            Request::Pull => {
                answer.changes = (self.heads[user].saturating_sub(value)).min(500) as u16;
                answer.value = value + u32::from(answer.changes);
            }
            Request::Push => {
                answer.value = value;
                self.heads[user] += value;
                self.announce(now, client);
            }
        }
        answer
    }

    /// Tells the streams of a user, and notes who is behind now.
    pub(super) fn announce(&mut self, now: Ms, client: u32) {
        let user = client / DEVICES;
        let head = self.heads[user as usize];
        for device in user * DEVICES..((user + 1) * DEVICES).min(self.size.clients) {
            let peer = &mut self.peers[device as usize];
            if device != client && peer.behind_since == 0 {
                peer.behind_since = now;
            }
            if peer.open && self.origin.tickets {
                let generation = peer.generations[Lane::Stream as usize];
                let at = now + self.delay(device);
                let what = What::Sync(head);
                put(&mut self.wheel, at, device, generation, what);
            }
        }
    }

    pub(super) fn back_at_edge(
        &mut self,
        now: Ms,
        client: u32,
        generation: u8,
        request: Request,
        mut answer: Answer,
    ) {
        if !self.edges_up {
            answer = Answer::failed(Cause::ConnectionLost, 0);
        } else if self.edge_of(client).answered(now, answer.trouble.is_none()) {
            self.record.opened(now);
        }
        if answer.trouble.is_some() && self.edges_up {
            let place = u16::try_from(self.place(now, client)).unwrap_or(u16::MAX);
            answer.wait = answer.wait.max(place);
            if answer.trouble == Some(Cause::RateLimited) {
                answer.trouble = Some(Cause::Upstream5xx);
            }
        }
        self.answer(now, client, generation, request, answer);
    }
}
