//! Several clients with their outboxes, one service that keeps the contract, and every order in which requests and
//! answers are served, lost, late or cut short between them.

mod sea;
mod service;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use stateright::{Model, Property};

pub use sea::{Action, Sea};

/// How much may happen on one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many writes each client makes, deletions included.
    pub writes: Vec<u8>,
    /// How many pushes go wrong: cut short, given up, refused, answered with a hole.
    pub faults: u8,
    /// How often the service forgets which operations it has seen.
    pub forgets: u8,
    /// How many snapshots are taken.
    pub snapshots: u8,
}

/// The model: who takes part, and how far it goes.
#[derive(Debug)]
pub struct OutboxModel {
    /// The records that everybody writes to.
    pub records: Vec<&'static str>,
    /// How many actions a way has.
    pub depth: u32,
    /// What may happen on it.
    pub limits: Limits,
    /// Every how many states the way to agreement is gone; 1 for each of them.
    pub sample: u64,
    longest: AtomicU64,
    stuck: Mutex<Option<String>>,
}

impl OutboxModel {
    /// A model with these limits.
    #[must_use]
    pub fn new(records: Vec<&'static str>, depth: u32, limits: Limits) -> Self {
        Self {
            records,
            depth,
            limits,
            sample: 1,
            longest: AtomicU64::new(0),
            stuck: Mutex::new(None),
        }
    }

    /// The most rounds (each client: one push, the user's decisions, pulls until empty) that agreement took.
    #[must_use]
    pub fn longest(&self) -> u64 {
        self.longest.load(Ordering::Relaxed)
    }

    /// Where the first way that did not lead to agreement ended.
    #[must_use]
    pub fn stuck(&self) -> Option<String> {
        let stuck = self.stuck.lock();
        stuck.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn agrees(&self, sea: &Sea) -> bool {
        if !sea.drawn(self.sample) {
            return true;
        }
        match sea.heal() {
            Ok(rounds) => {
                self.longest.fetch_max(rounds, Ordering::Relaxed);
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

impl Model for OutboxModel {
    type State = Sea;
    type Action = Action;

    fn init_states(&self) -> Vec<Sea> {
        vec![Sea::new(&self.records, self.limits.clone())]
    }

    fn actions(&self, sea: &Sea, actions: &mut Vec<Action>) {
        if sea.steps() < self.depth {
            sea.actions(actions);
        }
    }

    fn next_state(&self, sea: &Sea, action: Action) -> Option<Sea> {
        sea.after(action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NOT_LOST, |_, sea: &Sea| sea.loses_nothing()),
            Property::always(ONCE, |_, sea: &Sea| sea.doubles_nothing()),
            Property::always(NOT_INVENTED, |_, sea: &Sea| sea.invents_nothing()),
            Property::always(NO_ERROR, |_, sea: &Sea| sea.keeps(NO_ERROR)),
            // As in the engine's model: the way is gone to its end.
            Property::always(AGREES, |model: &Self, sea: &Sea| model.agrees(sea)),
            Property::sometimes("a conflict is reached", |_, sea: &Sea| sea.has_conflict()),
            Property::sometimes("a repeated operation is reached", |_, sea: &Sea| {
                sea.has_repeat()
            }),
            Property::sometimes("a forgotten repeat is reached", |_, sea: &Sea| {
                sea.has_forgotten_repeat()
            }),
        ]
    }
}

/// The last write of each client to each record is waiting, in conflict, refused, or was applied by the service.
const NOT_LOST: &str = "no write is lost";
/// No operation, and no write under another operation's name, has an effect twice.
const ONCE: &str = "no write is applied twice";
/// What a client shows is a write of its own that waits, or was at the service.
const NOT_INVENTED: &str = "nothing is shown that nobody wrote";
/// The replica takes every page, and does not panic.
const NO_ERROR: &str = "no error of the replica";
/// From here on, with a healthy service, every outbox drains and all copies are the same.
const AGREES: &str = "a healthy service leads to agreement";
