//! Keeps what the server asked for over a restart.

use tokio::task::JoinHandle;

use super::Driver;
use crate::clock;
use crate::guard::locked;
use crate::state::{Moment, Until};

impl Driver {
    /// Remembers what the server asked for; on disk too, where there is one.
    pub(super) fn keep_floors(&mut self) {
        let now = Moment::now();
        let until = Until::at(now, &self.engine.floors(clock::now()));
        let mut known = locked(&self.shared.floors);
        if until.agrees(&known) || (until.is_over(now) && known.is_over(now)) {
            return;
        }
        *known = until;
        drop(known);
        self.save_floors();
    }

    fn save_floors(&mut self) {
        let Some(file) = &self.shared.floor_file else {
            return;
        };
        if self.saving.is_some() {
            // It looks again when it is done.
            return;
        }
        let file = file.clone();
        let until = *locked(&self.shared.floors);
        self.saving = Some(tokio::task::spawn_blocking(move || {
            file.save(&until).map(|()| until)
        }));
    }

    pub(super) fn on_saved(&mut self, saved: Option<Until>) {
        self.saving = None;
        match saved {
            Some(saved) => {
                if saved != *locked(&self.shared.floors) {
                    self.save_floors();
                }
            }
            None => {
                tracing::warn!(target: "evenkeel", "the floors could not be saved");
                locked(&self.shared.journal).floor_save_failures += 1;
            }
        }
    }
}

/// What was saved; `None` where that failed. Cancel-safe.
pub(super) async fn join<T>(handle: &mut Option<JoinHandle<std::io::Result<T>>>) -> Option<T> {
    match handle {
        Some(handle) => handle.await.ok()?.ok(),
        None => std::future::pending().await,
    }
}
