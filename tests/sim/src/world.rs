//! One run: a fleet of one kind of client, the service, the network between them, and what is measured.

mod changes;
mod path;

use std::time::Duration;

use evenkeel_proto::Cause;

use crate::client::{Action, Client, Lane, News, Request, Trouble};
use crate::figures::{Figures, Recorder};
use crate::scenario::Scenario;
use crate::service::{Edge, Origin};
use crate::wheel::{Ms, Wheel};

/// How large the run is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// How many clients.
    pub clients: u32,
    /// Requests that the origin serves in a second.
    pub capacity_per_s: f64,
    /// Edge instances.
    pub edges: u8,
}

impl Size {
    /// A fleet with the share of the service that a million clients have: 20,000 requests a second, 20 edges.
    #[must_use]
    pub fn of(clients: u32) -> Self {
        let capacity_per_s = f64::from(clients) / 50.0;
        let edges = (clients / 500).clamp(2, 20) as u8;
        Self {
            clients,
            capacity_per_s,
            edges,
        }
    }
}

/// When the fault begins: the fleet has been at rest by then.
const BEGIN: Ms = 180_000;
/// The fleet that starts at leisure does so within this time, on an origin without a limit.
const LEISURE: Ms = 60_000;
/// Longer than this after the fault's end nobody watches.
const WATCH: Ms = 1_200_000;
/// Nothing more to see once everybody has been synced for so long.
const CALM: Ms = 90_000;
/// One write of a client, on average.
const WRITE_EVERY: f64 = 3_600_000.0;
const HEARTBEAT: Ms = 20_000;
/// Clients of one user.
const DEVICES: u32 = 2;
/// Of a thousand requests so many lose a packet, and so many their connection.
const LOSSY: u32 = 2;
const LOST: u32 = 1;
const RESENT_AFTER: Ms = 1_000;
/// Clients whose memory is fetched together: a large run is a fifth faster for it.
const TOUCHED: usize = 32;

/// What an answer holds.
#[derive(Clone, Copy, Debug)]
struct Answer {
    trouble: Option<Cause>,
    /// `Retry-After` in seconds, 0 for none.
    wait: u16,
    changes: u16,
    /// A cursor, a number of operations, or the origin's epoch.
    value: u32,
}

impl Answer {
    fn failed(cause: Cause, wait_s: u32) -> Self {
        Self {
            trouble: Some(cause),
            wait: u16::try_from(wait_s).unwrap_or(u16::MAX),
            changes: 0,
            value: 0,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum What {
    Start,
    Wake,
    Write,
    Beat,
    Sync(u32),
    Closed(Option<Cause>),
    AtEdge(Request, u32),
    /// The last is true for the edge's second attempt.
    AtOrigin(Request, u32, bool),
    BackAtEdge(Request, Answer),
    Arrive(Request, Answer),
    Change(u8),
    Second,
}

#[derive(Clone, Copy, Debug)]
struct Event {
    client: u32,
    generation: u8,
    what: What,
}

/// What the world knows of a client.
#[derive(Clone, Debug, Default)]
struct Peer {
    wake_at: Ms,
    cursor: u32,
    /// Operations that the service does not have.
    waiting: u16,
    generations: [u8; 3],
    edge: u8,
    delay: u8,
    /// The wrong clock, in minutes.
    clock: i8,
    open: bool,
    swallowed: bool,
    dozing: bool,
    /// The pull under way began while the stream was live.
    proving: bool,
    /// Such a pull has ended.
    proven: bool,
    synced: bool,
    minute: u16,
    requests: u16,
    /// When the first change came that it does not have; 0 for none.
    behind_since: Ms,
    /// It has been synced since the end of the fault.
    back: bool,
}

/// A fleet and its service.
struct World<'s, C> {
    scenario: &'s Scenario,
    size: Size,
    rng: fastrand::Rng,
    wheel: Wheel<Event>,
    clients: Vec<C>,
    peers: Vec<Peer>,
    heads: Vec<u32>,
    edges: Vec<Edge>,
    edges_up: bool,
    configured: bool,
    /// Everything is answered before the edges: with 503, and this `Retry-After` in seconds.
    maintenance: Option<u16>,
    origin: Origin,
    begin: Ms,
    record: Recorder,
    synced: u32,
    synced_all_since: Option<Ms>,
    streams: u32,
}

/// Lets a fleet of one kind live through a scenario.
pub fn run<C: Client>(scenario: &Scenario, size: Size, seed: u64) -> Figures {
    let mut world = World::<C>::new(scenario, size, seed);
    let end = world.begin + scenario.ends + WATCH;
    let mut touched = 0;
    while let Some((now, event)) = world.wheel.pop(end) {
        touched = world.touch(touched);
        world.on(now, &event);
        let calm = |since: Ms| now - since > CALM && now > world.begin + scenario.ends + CALM;
        if matches!(event.what, What::Second) && world.synced_all_since.is_some_and(calm) {
            break;
        }
    }
    world.finish()
}

impl<'s, C: Client> World<'s, C> {
    fn new(scenario: &'s Scenario, size: Size, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut wheel = Wheel::default();
        let begin = if scenario.rush.is_some() { 0 } else { BEGIN };
        let peers: Vec<Peer> = (0..size.clients)
            .map(|client| {
                let at = rng.u32(1..=scenario.rush.unwrap_or(LEISURE));
                put(&mut wheel, at, client, 0, What::Start);
                put(&mut wheel, at + pause(&mut rng), client, 0, What::Write);
                Peer {
                    wake_at: Ms::MAX,
                    edge: rng.u8(0..size.edges),
                    delay: rng.u8(5..=80),
                    clock: if scenario.clocks_wrong {
                        rng.i8(-120..=120)
                    } else {
                        0
                    },
                    swallowed: rng.u32(0..1_000) < scenario.swallowed,
                    ..Peer::default()
                }
            })
            .collect();
        for (n, &(at, _)) in scenario.changes.iter().enumerate() {
            let what = What::Change(n as u8);
            put(&mut wheel, begin + at, 0, 0, what);
        }
        put(&mut wheel, 1_000, 0, 0, What::Second);
        let capacity = size.capacity_per_s / 1_000.0;
        let streams_max = size.clients + size.clients / 5;
        let mut origin = Origin::new(capacity, streams_max);
        if scenario.rush.is_none() {
            origin.capacity = f64::MAX;
        }
        let swallowed = peers.iter().filter(|peer| peer.swallowed).count() as u32;
        Self {
            scenario,
            size,
            clients: (0..size.clients).map(|_| C::new(rng.u64(..))).collect(),
            rng,
            wheel,
            peers,
            heads: vec![0; (size.clients / DEVICES + 1) as usize],
            edges: vec![Edge::default(); size.edges.into()],
            edges_up: true,
            configured: true,
            maintenance: None,
            origin,
            begin,
            record: Recorder::new(size, begin, begin + scenario.ends, size.clients - swallowed),
            synced: 0,
            synced_all_since: None,
            streams: 0,
        }
    }

    /// Reads a little of each client whose turn is next, so that the waits for memory overlap; how many of them are
    /// left.
    fn touch(&self, left: usize) -> usize {
        if left > 0 {
            return left - 1;
        }
        let ahead = self.wheel.ahead();
        let next = &ahead[..ahead.len().min(TOUCHED)];
        for event in next {
            let client = event.client as usize;
            std::hint::black_box((self.peers[client].wake_at, self.clients[client].wake()));
        }
        next.len()
    }

    fn on(&mut self, now: Ms, event: &Event) {
        let Event {
            client,
            generation,
            ref what,
        } = *event;
        match *what {
            What::Change(n) => return self.change(now, self.scenario.changes[usize::from(n)].1),
            What::Second => return self.second(now),
            What::AtEdge(request, value) => {
                return self.at_edge(now, client, generation, request, value);
            }
            What::AtOrigin(request, value, again) => {
                return self.at_origin(now, client, generation, request, value, again);
            }
            What::BackAtEdge(request, answer) => {
                return self.back_at_edge(now, client, generation, request, answer);
            }
            _ => {}
        }
        let peer = &mut self.peers[client as usize];
        let streaming = peer.open && generation == peer.generations[Lane::Stream as usize];
        match *what {
            What::Write => {
                put(
                    &mut self.wheel,
                    now + pause(&mut self.rng),
                    client,
                    generation,
                    *what,
                );
                if peer.dozing {
                    return;
                }
                peer.waiting += 1;
                let waiting = peer.waiting.into();
                self.clients[client as usize].hear(now, News::Wrote(waiting));
            }
            What::Wake => {
                if peer.wake_at != now || peer.dozing {
                    return;
                }
                peer.wake_at = Ms::MAX;
                match self.clients[client as usize].wake() {
                    Some(at) if at <= now => self.clients[client as usize].tick(now),
                    _ => {}
                }
            }
            What::Start => self.clients[client as usize].hear(now, News::Start),
            What::Beat => {
                if !streaming || peer.dozing {
                    return;
                }
                put(&mut self.wheel, now + HEARTBEAT, client, generation, *what);
                self.say_retry(now, client);
                self.clients[client as usize].hear(now, News::Heartbeat);
            }
            What::Sync(cursor) => {
                if !streaming || peer.dozing || peer.swallowed {
                    return;
                }
                self.clients[client as usize].hear(now, News::Sync(cursor));
            }
            What::Closed(cause) => {
                if !streaming {
                    return;
                }
                self.close(client);
                if self.peers[client as usize].dozing {
                    return;
                }
                let trouble = cause.map(|cause| trouble(cause, 0, 0));
                self.clients[client as usize].hear(now, News::Closed(trouble));
            }
            What::Arrive(request, answer) => {
                if generation != peer.generations[request.lane() as usize] || peer.dozing {
                    return;
                }
                self.arrive(now, client, generation, request, answer);
            }
            _ => {}
        }
        self.act(now, client);
    }

    /// Does what the client wants, and looks at where it stands.
    fn act(&mut self, now: Ms, client: u32) {
        while let Some(action) = self.clients[client as usize].act() {
            let peer = &mut self.peers[client as usize];
            match action {
                Action::Abort(lane) => {
                    peer.generations[lane as usize] =
                        peer.generations[lane as usize].wrapping_add(1);
                    if lane == Lane::Stream && peer.open {
                        self.close(client);
                    }
                }
                Action::Send(request, from) => {
                    let lane = request.lane() as usize;
                    peer.generations[lane] = peer.generations[lane].wrapping_add(1);
                    let generation = peer.generations[lane];
                    let value = if request == Request::Push {
                        peer.waiting.into()
                    } else {
                        from
                    };
                    if request == Request::Pull {
                        peer.proving = peer.open && !peer.swallowed;
                    }
                    self.record.sent(now);
                    let (what, delay) = if self.rng.u32(0..1_000) < LOST {
                        let answer = Answer::failed(Cause::ConnectionLost, 0);
                        (What::Arrive(request, answer), RESENT_AFTER)
                    } else {
                        (What::AtEdge(request, value), self.delay(client))
                    };
                    put(&mut self.wheel, now + delay, client, generation, what);
                }
            }
        }
        if let Some(at) = self.clients[client as usize].wake() {
            let at = at.max(now + 1);
            let peer = &mut self.peers[client as usize];
            if at < peer.wake_at {
                peer.wake_at = at;
                put(&mut self.wheel, at, client, 0, What::Wake);
            }
        }
        self.look(now, client);
    }

    fn look(&mut self, now: Ms, client: u32) {
        let peer = &mut self.peers[client as usize];
        let synced = peer.open && peer.proven && peer.waiting == 0;
        if synced != peer.synced {
            peer.synced = synced;
            self.synced = if synced {
                self.synced + 1
            } else {
                self.synced - 1
            };
        }
        if synced && !peer.back && now >= self.begin + self.scenario.ends {
            peer.back = true;
            self.record.back(now);
        }
    }

    fn delay(&mut self, client: u32) -> Ms {
        let base = Ms::from(self.peers[client as usize].delay);
        let resent = if self.rng.u32(0..1_000) < LOSSY {
            RESENT_AFTER
        } else {
            0
        };
        base + self.rng.u32(0..=base / 2) + resent
    }

    fn arrive(&mut self, now: Ms, client: u32, generation: u8, request: Request, answer: Answer) {
        let peer = &mut self.peers[client as usize];
        if let Some(cause) = answer.trouble {
            let trouble = Err(trouble(cause, answer.wait, peer.clock));
            let news = match request {
                Request::Ticket | Request::Events => News::Stream(trouble.map(|_: u32| ())),
                Request::Pull => News::Pulled(trouble.map(|_: u32| (0, 0))),
                Request::Push => News::Pushed(trouble),
            };
            return self.clients[client as usize].hear(now, news);
        }
        match request {
            Request::Ticket => self.clients[client as usize].hear(now, News::Stream(Ok(()))),
            Request::Events => {
                self.open(client);
                self.clients[client as usize].hear(now, News::Stream(Ok(())));
                if answer.value != self.origin.epoch || !self.origin.up {
                    self.close(client);
                    return self.clients[client as usize].hear(now, News::Closed(None));
                }
                if self.peers[client as usize].swallowed {
                    return;
                }
                self.say_retry(now, client);
                let at = now + HEARTBEAT;
                put(&mut self.wheel, at, client, generation, What::Beat);
                self.clients[client as usize].hear(now, News::Ready);
            }
            Request::Pull => {
                peer.cursor = peer.cursor.max(answer.value);
                let head = self.heads[(client / DEVICES) as usize];
                if peer.cursor >= head {
                    peer.behind_since = 0;
                }
                peer.proven |= answer.changes == 0 && peer.proving && peer.open;
                let news = News::Pulled(Ok((answer.changes.into(), answer.value)));
                self.clients[client as usize].hear(now, news);
            }
            Request::Push => {
                peer.waiting -= answer.value as u16;
                let waiting = peer.waiting.into();
                self.clients[client as usize].hear(now, News::Pushed(Ok(waiting)));
            }
        }
    }

    fn open(&mut self, client: u32) {
        let peer = &mut self.peers[client as usize];
        peer.open = true;
        peer.proven = false;
        self.streams += 1;
        self.edge_of(client).carried += 1;
    }

    fn close(&mut self, client: u32) {
        let peer = &mut self.peers[client as usize];
        peer.open = false;
        peer.proven = false;
        self.streams -= 1;
        let edge = self.edge_of(client);
        edge.carried = edge.carried.saturating_sub(1);
    }
}

/// Something will happen.
fn put(wheel: &mut Wheel<Event>, at: Ms, client: u32, generation: u8, what: What) {
    wheel.push(
        at,
        Event {
            client,
            generation,
            what,
        },
    );
}

fn pause(rng: &mut fastrand::Rng) -> Ms {
    (-(1.0 - rng.f64()).ln() * WRITE_EVERY) as Ms + 1
}

fn trouble(cause: Cause, wait_s: u16, clock_min: i8) -> Trouble {
    let by_clock = i64::from(wait_s) - i64::from(clock_min) * 60;
    let seconds = |s: u64| Duration::from_secs(s);
    Trouble {
        cause,
        retry_after: (wait_s > 0).then(|| seconds(wait_s.into())),
        retry_after_by_clock: (wait_s > 0).then(|| seconds(u64::try_from(by_clock).unwrap_or(0))),
    }
}
