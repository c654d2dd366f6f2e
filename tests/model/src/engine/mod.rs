//! One engine, one abstract service, and every order of what can happen between them.

mod onlooker;
mod service;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use stateright::{Model, Property};

pub use service::Mode;
pub use world::{Action, Start, World};

/// How much may happen on one way. Answers, time and the stream's signs of life are not counted: only the depth
/// bounds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How often the service changes its mode.
    pub modes: u8,
    /// How many answers are lost.
    pub losses: u8,
    /// How many changes others make on the server.
    pub changes: u8,
    /// How many local writes there are.
    pub writes: u8,
    /// How often app or system do something: pause, restart, network, hints.
    pub app: u8,
    /// How often the stream ends by itself.
    pub breaks: u8,
}

/// The model: where it begins, and how far it goes.
#[derive(Debug)]
pub struct EngineModel {
    /// Where every way begins.
    pub starts: Vec<Start>,
    /// How many actions a way has.
    pub depth: u32,
    /// What may happen on it.
    pub bounds: Bounds,
    /// The seed of all jitter.
    pub seed: u64,
    /// Every how many states the way back to `synced` is gone; 1 for each of them.
    pub sample: u64,
    longest_ms: AtomicU64,
    stuck: Mutex<Option<String>>,
}

impl EngineModel {
    /// A model with these limits.
    #[must_use]
    pub fn new(starts: Vec<Start>, depth: u32, bounds: Bounds) -> Self {
        Self {
            starts,
            depth,
            bounds,
            seed: 0,
            sample: 1,
            longest_ms: AtomicU64::new(0),
            stuck: Mutex::new(None),
        }
    }

    /// The longest way back to `synced` that was gone, in milliseconds of virtual time.
    #[must_use]
    pub fn longest_ms(&self) -> u64 {
        self.longest_ms.load(Ordering::Relaxed)
    }

    /// Where the first way back that did not lead to `synced` ended.
    #[must_use]
    pub fn stuck(&self) -> Option<String> {
        let stuck = self.stuck.lock();
        stuck.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn heals(&self, world: &World) -> bool {
        if !world.drawn(self.sample) {
            return true;
        }
        match world.heal() {
            Ok(span) => {
                let ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
                self.longest_ms.fetch_max(ms, Ordering::Relaxed);
                true
            }
            Err(why) => {
                let mut stuck = self.stuck.lock().unwrap_or_else(PoisonError::into_inner);
                stuck.get_or_insert(why);
                false
            }
        }
    }
}

impl Model for EngineModel {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let begin = |&start| World::new(start, self.seed, self.bounds);
        self.starts.iter().map(begin).collect()
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.steps() < self.depth {
            world.actions(actions);
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        world.after(action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_PROBE, |_, world: &World| world.keeps(ONE_PROBE)),
            Property::always(ONE_A_LANE, |_, world: &World| world.keeps(ONE_A_LANE)),
            Property::always(FLOORS, |_, world: &World| world.keeps(FLOORS)),
            Property::always(TICKETS, |_, world: &World| world.keeps(TICKETS)),
            Property::always(PROOF, |_, world: &World| world.keeps(PROOF)),
            Property::always(PAUSED, |_, world: &World| world.keeps(PAUSED)),
            Property::always(ANNOUNCED, |_, world: &World| world.keeps(ANNOUNCED)),
            Property::always(NO_PANIC, |_, world: &World| world.keeps(NO_PANIC)),
            Property::always(GOES_ON, |_, world: &World| world.keeps(GOES_ON)),
            Property::always(LATE, |_, world: &World| world.ignores_late_answers()),
            // Not `eventually`: that one is blind where ways meet or turn in a circle. From each state the healthy
            // service's way is gone to its end instead.
            Property::always(HEALS, |model: &Self, world: &World| model.heals(world)),
            Property::sometimes("synced is reached", |_, world: &World| world.is_synced()),
            Property::sometimes("a gate is closed by its server", |_, world: &World| {
                world.is_told_to_wait()
            }),
            Property::sometimes("polling is reached", |_, world: &World| world.polls()),
        ]
    }
}

/// While the gate is not open one request is under way at most, those aside that were sent before it closed.
const ONE_PROBE: &str = "one probe";
/// Stream, pull and push lane have one request under way each.
const ONE_A_LANE: &str = "one request a lane";
/// Nothing goes out before a time that the service gave.
const FLOORS: &str = "nothing before the server's time";
/// A ticket opens one stream at most, before its expiry and not after it was aborted.
const TICKETS: &str = "a ticket is used once";
/// `synced` is said only on proof, and no longer than the quiet time after it is gone.
const PROOF: &str = "synced only with proof";
/// A client that is paused, offline or signed out sends nothing.
const PAUSED: &str = "a paused client is silent";
/// A request that goes out by itself was announced as the next attempt, while degraded.
const ANNOUNCED: &str = "attempts are announced";
const NO_PANIC: &str = "no panic";
/// Time passes between two timeouts.
const GOES_ON: &str = "no loop without time";
/// An answer to a request that was aborted or answered changes nothing.
const LATE: &str = "late answers change nothing";
/// From here on a healthy service leads to `synced`.
const HEALS: &str = "a healthy service leads to synced";
