//! What is measured, and the figures that come of it.

use crate::wheel::Ms;
use crate::world::Size;

/// What happened in one second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Second {
    /// Requests that clients sent.
    pub sent: u32,
    /// Requests that reached the origin, the edge's second attempts included.
    pub at_origin: u32,
    /// Of those, so many failed there.
    pub failed: u32,
    /// Circuits that opened.
    pub opened: u32,
    /// Clients that are synced, at its end.
    pub synced: u32,
}

/// Collects while a run lasts.
#[derive(Debug)]
pub struct Recorder {
    size: Size,
    begin: Ms,
    end: Ms,
    /// Clients that can have a stream at all.
    pub reachable: u32,
    seconds: Vec<Second>,
    back: Vec<u32>,
    limited: u32,
    age_sum: f64,
    age_count: u64,
}

/// The figures of one run. Times are from the end of the fault.
#[derive(Clone, Debug)]
pub struct Figures {
    /// How large it was.
    pub size: Size,
    /// Requests of a client in a minute of the fault, its first minute aside (0 where it was shorter).
    pub sent_per_minute: f64,
    /// The same in the first minute of the fault.
    pub sent_first_minute: f64,
    /// Requests that a client sent in all from the end of the fault until the fleet was synced for good (or the watch ended).
    pub sent_coming_back: f64,
    /// The most that arrived at the origin in one second after the fault, over its capacity.
    pub peak: f64,
    /// When so many of the fleet that can have a stream were synced: 50 %, 99 %, 99.9 %; `None` for never.
    pub back_s: [Option<f64>; 3],
    /// When the last one was.
    pub slowest_s: Option<f64>,
    /// From when on the fleet was synced for good: 98.5 % of it, since some have always just written.
    pub calm_s: Option<f64>,
    /// The service fell over again, or was kept down: see [`Recorder::finish`].
    pub collapsed: bool,
    /// Circuits that opened after the end, over the number of edges.
    pub reopened: f64,
    /// Requests that failed at the origin after the end, in percent.
    pub failed_percent: f64,
    /// How long a change had been there that a client did not have, on average, from the fault's begin on.
    pub age_mean_s: f64,
    /// Requests that the origin's limit for one client refused.
    pub limited: u32,
    /// What happened, second by second, from the beginning of the fault.
    pub seconds: Vec<Second>,
    /// When the fault ended, in seconds from its beginning.
    pub ends_s: usize,
}

impl Recorder {
    /// Nothing yet.
    #[must_use]
    pub fn new(size: Size, begin: Ms, end: Ms, reachable: u32) -> Self {
        Self {
            size,
            begin,
            end,
            reachable,
            seconds: Vec::new(),
            back: Vec::new(),
            limited: 0,
            age_sum: 0.0,
            age_count: 0,
        }
    }

    fn at(&mut self, now: Ms) -> &mut Second {
        let n = (now / 1_000) as usize;
        if self.seconds.len() <= n {
            self.seconds.resize(n + 1, Second::default());
        }
        &mut self.seconds[n]
    }

    /// A client sent something.
    pub fn sent(&mut self, now: Ms) {
        self.at(now).sent += 1;
    }

    /// Something reached the origin.
    pub fn at_origin(&mut self, now: Ms) {
        self.at(now).at_origin += 1;
    }

    /// And failed there.
    pub fn failed(&mut self, now: Ms) {
        self.at(now).failed += 1;
    }

    /// A circuit opened.
    pub fn opened(&mut self, now: Ms) {
        self.at(now).opened += 1;
    }

    /// The origin's limit for one client refused something.
    pub fn limited(&mut self) {
        self.limited += 1;
    }

    /// A client is back.
    pub fn back(&mut self, now: Ms) {
        self.back.push(now - self.end);
    }

    /// A second ends.
    pub fn second(&mut self, now: Ms, synced: u32) {
        self.at(now.saturating_sub(1)).synced = synced;
    }

    /// How old the oldest change is that some clients do not have.
    pub fn ages(&mut self, now: Ms, ages: impl Iterator<Item = Ms>) {
        if now < self.begin {
            return;
        }
        for age in ages {
            self.age_sum += f64::from(age) / 1e3;
            self.age_count += 1;
        }
    }

    /// The figures. A collapse is: after the end of the fault the synced part of the fleet falls by more than a
    /// twentieth of the fleet, or it never is synced for good.
    #[must_use]
    pub fn finish(mut self, missing: u32) -> Figures {
        let first = (self.begin / 1_000) as usize;
        let ends_s = ((self.end - self.begin) / 1_000) as usize;
        // The second under way has not ended.
        let mut seconds: Vec<Second> = self.seconds.split_off(first.min(self.seconds.len()));
        seconds.pop();
        let after = &seconds[ends_s.min(seconds.len())..];
        let during = &seconds[..ends_s.min(seconds.len())];
        let fleet = f64::from(self.size.clients);
        let rate = |seconds: &[Second]| {
            let sent: u64 = seconds.iter().map(|second| u64::from(second.sent)).sum();
            if seconds.is_empty() {
                0.0
            } else {
                sent as f64 / fleet / seconds.len() as f64 * 60.0
            }
        };
        let steady = during.get(60..).unwrap_or_default();

        self.back.sort_unstable();
        let back = |share: f64| {
            let n = (f64::from(self.reachable) * share).ceil() as usize;
            n.checked_sub(1)
                .and_then(|n| self.back.get(n))
                .map(|&at| f64::from(at) / 1e3)
        };
        let enough = f64::from(self.reachable) * 0.985;
        let calm = after
            .iter()
            .rposition(|second| f64::from(second.synced) < enough);
        let calm_s = match calm {
            Some(last) if last + 1 == after.len() => None,
            Some(last) => Some(last as f64 + 1.0),
            None => Some(0.0),
        };
        let mut most = 0;
        let fell = after.iter().any(|second| {
            most = most.max(second.synced);
            f64::from(most - second.synced) > fleet / 20.0
        });
        let sum =
            |what: fn(&Second) -> u32| after.iter().map(|s| u64::from(what(s))).sum::<u64>() as f64;
        let coming = calm_s
            .map_or(after.len(), |calm| calm as usize)
            .min(after.len());
        let coming_back: u64 = after[..coming]
            .iter()
            .map(|second| u64::from(second.sent))
            .sum();
        Figures {
            sent_coming_back: coming_back as f64 / fleet,
            size: self.size,
            sent_per_minute: rate(steady),
            sent_first_minute: rate(&during[..during.len().min(60)]),
            peak: f64::from(
                after
                    .iter()
                    .map(|second| second.at_origin)
                    .max()
                    .unwrap_or(0),
            ) / self.size.capacity_per_s,
            back_s: [back(0.5), back(0.99), back(0.999)],
            slowest_s: (missing == 0)
                .then(|| self.back.last().map_or(0.0, |&at| f64::from(at) / 1e3)),
            calm_s,
            collapsed: fell || calm_s.is_none(),
            reopened: sum(|second| second.opened) / f64::from(self.size.edges),
            failed_percent: 100.0 * sum(|second| second.failed)
                / sum(|second| second.at_origin).max(1.0),
            age_mean_s: self.age_sum / self.age_count.max(1) as f64,
            limited: self.limited,
            seconds,
            ends_s,
        }
    }
}
