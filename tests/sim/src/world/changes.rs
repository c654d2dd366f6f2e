//! What a scenario changes, and what is looked at each second.

use evenkeel_proto::Cause;

use super::{What, World, put};
use crate::client::{Client, Lane};
use crate::figures::Figures;
use crate::scenario::Change;
use crate::wheel::Ms;

impl<C: Client> World<'_, C> {
    pub(super) fn change(&mut self, now: Ms, change: Change) {
        let whole = self.size.capacity_per_s / 1_000.0;
        // Until the fault begins, with a change, the fleet starts on an origin without a limit.
        self.origin.capacity = self.origin.capacity.min(whole);
        match change {
            Change::OriginDown => {
                self.origin.up = false;
                self.close_all(now, Some(Cause::ConnectionLost));
            }
            Change::OriginUp => self.origin.start(now),
            Change::OriginRestart => {
                self.origin.start(now);
                self.close_all(now, None);
            }
            Change::Capacity(share) => self.origin.capacity = whole * share,
            Change::Tickets(work) => self.origin.tickets = work,
            Change::EdgesRestart => {
                self.edges_up = false;
                self.close_all(now, Some(Cause::ConnectionLost));
                for edge in &mut self.edges {
                    edge.restart();
                }
            }
            Change::EdgesUp => self.edges_up = true,
            Change::Configured(configured) => self.configured = configured,
            Change::Maintenance(wait) => self.maintenance = wait,
            Change::Doze => {
                for client in (0..self.size.clients).step_by(2) {
                    self.peers[client as usize].dozing = true;
                    if self.peers[client as usize].open {
                        self.close(client);
                    }
                    self.look(now, client);
                }
            }
            Change::Rouse => {
                for client in (0..self.size.clients).step_by(2) {
                    self.peers[client as usize].dozing = false;
                    let at = now + self.rng.u32(1..=30_000);
                    self.peers[client as usize].wake_at = at;
                    put(&mut self.wheel, at, client, 0, What::Wake);
                }
            }
        }
    }

    /// Everybody's stream ends, and they learn of it as fast as the network carries it.
    pub(super) fn close_all(&mut self, now: Ms, cause: Option<Cause>) {
        for client in 0..self.size.clients {
            let peer = &mut self.peers[client as usize];
            if !peer.open {
                continue;
            }
            peer.proven = false;
            peer.proving = false;
            let generation = peer.generations[Lane::Stream as usize];
            let at = now + self.delay(client);
            let what = What::Closed(cause);
            put(&mut self.wheel, at, client, generation, what);
            self.look(now, client);
        }
    }

    pub(super) fn second(&mut self, now: Ms) {
        put(&mut self.wheel, now + 1_000, 0, 0, What::Second);
        if now >= self.begin + self.scenario.ends && now - self.begin - self.scenario.ends < 1_000 {
            // Who was never away is back at once.
            for client in 0..self.size.clients {
                self.look(now, client);
            }
        }
        self.record.second(now, self.synced);
        let fleet = self.record.reachable;
        let all = u64::from(self.synced) * 1_000 >= u64::from(fleet) * 998;
        self.synced_all_since = self.synced_all_since.filter(|_| all).or(all.then_some(now));
        if now.is_multiple_of(10_000) {
            let step = (self.size.clients / 5_000).max(1) as usize;
            let ages = self.peers.iter().step_by(step).filter(|peer| !peer.dozing);
            let behind = ages.map(|peer| {
                if peer.behind_since > 0 {
                    now - peer.behind_since
                } else {
                    0
                }
            });
            self.record.ages(now, behind);
        }
    }

    pub(super) fn finish(self) -> Figures {
        let missing = self
            .peers
            .iter()
            .filter(|peer| !peer.back && !peer.swallowed);
        let missing = missing.count() as u32;
        self.record.finish(missing)
    }
}
