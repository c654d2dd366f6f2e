//! The edge's counters of its secrets, and what they did between two looks.

use evenkeel_proto::wire::{EdgeMetrics, SecretRotation};

use crate::probe::{Counted, Trouble};

/// What the edge told of its counters at one moment.
pub(super) struct Counters {
    all: Counted,
    rotation: SecretRotation,
}

impl Counters {
    pub(super) fn told(answer: Option<Result<Counted, Trouble>>) -> Result<Self, String> {
        let all = match answer {
            Some(Ok(all)) => all,
            Some(Err(trouble)) => return Err(trouble.to_string()),
            None => return Err("nobody said where the edge is".to_owned()),
        };
        let Some(reliability) = &all.metrics.reliability else {
            return Err("this build of the edge tells nothing of its secrets".to_owned());
        };
        Ok(Self {
            rotation: reliability.secret_rotation.clone(),
            all,
        })
    }

    pub(super) const fn metrics(&self) -> &EdgeMetrics {
        &self.all.metrics
    }

    pub(super) const fn all(&self) -> &Counted {
        &self.all
    }

    pub(super) fn restarted_since(&self, before: &Counted) -> bool {
        self.all.restarted_since(before)
    }

    /// How often the old secret was needed since this instance began.
    pub(super) const fn fallbacks(&self) -> u64 {
        self.rotation.fallback_decrypts
    }

    const fn totals(&self) -> [u64; 4] {
        let told = &self.rotation;
        [
            told.fallback_decrypts,
            told.decrypt_failures,
            told.reencrypt_successes,
            told.reencrypt_failures,
        ]
    }

    pub(super) fn words(&self) -> String {
        let [fallback, lost, moved, stuck] = self.totals();
        format!(
            "fallbackDecrypts {fallback}, decryptFailures {lost}, reencryptSuccesses {moved}, \
             reencryptFailures {stuck}"
        )
    }
}

pub(super) type Told = Result<Counters, String>;

/// By how much they rose between two samples.
#[derive(Clone, Copy, Default)]
pub(super) struct Rose {
    rotation: [u64; 4],
    /// Requests that were not the drill's, at least.
    pub(super) others: u64,
}

impl Rose {
    pub(super) const fn fallbacks(self) -> u64 {
        self.rotation[0]
    }

    pub(super) const fn lost(self) -> u64 {
        self.rotation[1]
    }

    pub(super) const fn moved(self) -> u64 {
        self.rotation[2]
    }

    pub(super) const fn stuck(self) -> u64 {
        self.rotation[3]
    }

    pub(super) fn between<'a>(
        before: &'a Told,
        after: &'a Told,
        worked: bool,
    ) -> Result<Self, &'a str> {
        let (before, after) = match (before, after) {
            (Ok(before), Ok(after)) => (before, after),
            (Err(why), _) | (_, Err(why)) => return Err(why),
        };
        if after.restarted_since(&before.all) {
            return Err("the edge was restarted between the samples; check again");
        }
        let requests = |counters: &Counters| counters.all.metrics.metrics.requests;
        let rose = requests(after) - requests(before);
        // One that failed may not have come that far.
        if rose == 0 && worked {
            return Err(
                "the calls are not in the counters: they are another instance's; ask the one that serves the calls",
            );
        }
        let (old, new) = (before.totals(), after.totals());
        Ok(Self {
            rotation: [0, 1, 2, 3].map(|n| new[n] - old[n]),
            // The call itself, and a sample, which some builds count.
            others: rose.saturating_sub(2),
        })
    }

    pub(super) fn sum(all: impl Iterator<Item = Self>) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            rotation: [0, 1, 2, 3].map(|n| sum.rotation[n].saturating_add(one.rotation[n])),
            others: sum.others.saturating_add(one.others),
        })
    }
}
