//! What can be made to go wrong, while the service runs.

mod set;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use tokio::sync::watch;

pub use set::{
    CdnBody, CdnError, Cut, DatabaseFault, FaultInfo, FaultSet, Flap, Garbage, LateCommits,
    OriginErrors, RateLimited, Selection, SignIn, SnapshotGap, Unconfigured,
};

/// Why a fault was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultError {
    /// There is no fault of this name: see [`FaultSet::all`].
    #[error("there is no fault {0:?}")]
    Unknown(String),
    /// Not a value that the fault takes.
    #[error("{name}: {reason}")]
    Value {
        /// Which fault.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Switches faults on and off; cheap to clone, and every clone is the same switchboard.
///
/// ```
/// use evenkeel_stack::Faults;
/// let faults = Faults::default();
/// faults.update(|f| f.origin_hangs = true);
/// faults.set("origin_errors", serde_json::json!({ "rate": 0.5, "status": 503 }))?;
/// assert!(faults.now().origin_hangs);
/// faults.reset();
/// # Ok::<(), evenkeel_stack::FaultError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Faults {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    set: watch::Sender<Arc<FaultSet>>,
    cuts: watch::Sender<Option<Cut>>,
    since: Mutex<BTreeMap<String, Instant>>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            shared: Arc::new(Shared {
                set: watch::Sender::new(Arc::default()),
                cuts: watch::Sender::new(None),
                since: Mutex::default(),
            }),
        }
    }
}

impl Faults {
    /// What is wrong now.
    #[must_use]
    pub fn now(&self) -> Arc<FaultSet> {
        self.shared.set.borrow().clone()
    }

    /// Changes faults, several at once if need be. It is in force when this returns, for every request
    /// that arrives from then on.
    pub fn update(&self, change: impl FnOnce(&mut FaultSet)) {
        self.shared.set.send_modify(|current| {
            let mut next = FaultSet::clone(current);
            change(&mut next);
            if let Some(cut) = next.stream_cut.take() {
                self.shared.cuts.send_replace(Some(cut));
            }
            self.note_times(&next);
            *current = Arc::new(next);
        });
    }

    /// Sets one fault by its name.
    ///
    /// # Errors
    ///
    /// No such fault, or not a value that it takes.
    pub fn set(&self, name: &str, value: Value) -> Result<(), FaultError> {
        // Read against the defaults, so that the check is of this one value, then copied over as a
        // whole set: two callers at once do not undo each other's work.
        read(name, value.clone())?;
        self.update(|set| {
            if let Ok(next) = with(set, name, Some(value)) {
                *set = next;
            }
        });
        Ok(())
    }

    /// Clears one fault by its name.
    ///
    /// # Errors
    ///
    /// No such fault.
    pub fn clear(&self, name: &str) -> Result<(), FaultError> {
        known(name)?;
        self.update(|set| {
            if let Ok(next) = with(set, name, None) {
                *set = next;
            }
        });
        Ok(())
    }

    /// Clears every fault.
    pub fn reset(&self) {
        self.update(|set| *set = FaultSet::default());
    }

    /// Cuts every stream that is open now.
    pub fn cut_streams(&self, how: Cut) {
        self.update(|set| set.stream_cut = Some(how));
    }

    /// For how long a fault has been on; `None` while it is off.
    #[must_use]
    pub fn active_for(&self, name: &str) -> Option<Duration> {
        let since = self.shared.since.lock();
        let since = since.unwrap_or_else(PoisonError::into_inner);
        since.get(name).map(Instant::elapsed)
    }

    /// Hears of every change from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<FaultSet>> {
        self.shared.set.subscribe()
    }

    /// Hears of every cut from now on.
    pub(crate) fn cuts(&self) -> watch::Receiver<Option<Cut>> {
        self.shared.cuts.subscribe()
    }

    /// Waits until `cleared` holds.
    pub(crate) async fn until(&self, cleared: impl FnMut(&Arc<FaultSet>) -> bool) {
        // The sender lives as long as `self`, so this cannot fail.
        let _ = self.subscribe().wait_for(cleared).await;
    }

    /// Uses up one of a fault that is counted.
    pub(crate) fn take_one(&self, count: impl Fn(&mut FaultSet) -> &mut u64) -> bool {
        let mut taken = false;
        self.shared.set.send_if_modified(|current| {
            let mut next = FaultSet::clone(current);
            let left = count(&mut next);
            if *left == 0 {
                return false;
            }
            *left -= 1;
            taken = true;
            self.note_times(&next);
            *current = Arc::new(next);
            true
        });
        taken
    }

    fn note_times(&self, next: &FaultSet) {
        let active = active(next);
        let since = self.shared.since.lock();
        let mut since = since.unwrap_or_else(PoisonError::into_inner);
        since.retain(|name, _| active.contains_key(name));
        for name in active.keys() {
            since.entry(name.clone()).or_insert_with(Instant::now);
        }
    }
}

/// Spreads a rate evenly over the requests: the same requests fail in every run.
#[derive(Debug, Default)]
pub(crate) struct Share(Mutex<f64>);

impl Share {
    pub(crate) fn due(&self, rate: f64) -> bool {
        let mut share = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *share += rate.clamp(0.0, 1.0);
        let due = *share >= 1.0;
        if due {
            *share -= 1.0;
        }
        due
    }
}

/// The faults that are on, by name.
pub(crate) fn active(set: &FaultSet) -> Map<String, Value> {
    let off = fields(&FaultSet::default());
    let mut on = fields(set);
    on.retain(|name, value| off.get(name) != Some(value));
    on
}

fn known(name: &str) -> Result<(), FaultError> {
    match FaultSet::all().iter().any(|info| info.name == name) {
        true => Ok(()),
        false => Err(FaultError::Unknown(name.to_owned())),
    }
}

fn read(name: &str, value: Value) -> Result<FaultSet, FaultError> {
    known(name)?;
    with(&FaultSet::default(), name, Some(value)).map_err(|reason| FaultError::Value {
        name: name.to_owned(),
        reason,
    })
}

/// `set` with one fault changed, or cleared.
fn with(set: &FaultSet, name: &str, value: Option<Value>) -> Result<FaultSet, String> {
    let mut fields = fields(set);
    match value {
        Some(value) => drop(fields.insert(name.to_owned(), value)),
        None => drop(fields.remove(name)),
    }
    let next: FaultSet =
        serde_json::from_value(Value::Object(fields)).map_err(|e| e.to_string())?;
    next.check()?;
    Ok(next)
}

fn fields(set: &FaultSet) -> Map<String, Value> {
    match serde_json::to_value(set) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_example_is_a_value_that_its_fault_takes() {
        for info in FaultSet::all() {
            let faults = Faults::default();
            let value = serde_json::from_str(info.example).unwrap();
            faults.set(info.name, value).unwrap();
            let on = active(&faults.now());
            let one_shot = info.name == "stream_cut";
            assert_eq!(on.contains_key(info.name), !one_shot, "{}", info.name);
            faults.clear(info.name).unwrap();
            assert_eq!(*faults.now(), FaultSet::default());
            assert!(!info.doc.is_empty());
        }
    }

    #[test]
    fn wrong_names_and_values_are_refused_and_change_nothing() {
        let faults = Faults::default();
        assert!(faults.set("no_such", json!(true)).is_err());
        assert!(faults.clear("no_such").is_err());
        for (name, value) in [
            ("origin_hangs", json!("yes")),
            ("origin_errors", json!({"rate": 2.0})),
            ("origin_errors", json!({"status": 200})),
            ("cdn_error", json!({"status": 530, "colour": "red"})),
            ("late_commits", json!({"delay_ms": 1, "every": 0})),
            ("clock_skew_s", json!(1_000_000_000_000_i64)),
        ] {
            let refused = faults.set(name, value).unwrap_err();
            assert!(matches!(refused, FaultError::Value { .. }), "{refused}");
        }
        assert_eq!(*faults.now(), FaultSet::default());
    }

    #[test]
    fn a_counted_fault_is_used_up() {
        let faults = Faults::default();
        faults.update(|f| f.push_answers_lost = 2);
        assert!(faults.active_for("push_answers_lost").is_some());
        assert!(faults.take_one(|f| &mut f.push_answers_lost));
        assert!(faults.take_one(|f| &mut f.push_answers_lost));
        assert!(!faults.take_one(|f| &mut f.push_answers_lost));
        assert!(faults.active_for("push_answers_lost").is_none());
    }
}
