//! What a recording tells: lanes of states, counters, and what nobody could see.

use std::collections::BTreeMap;

use super::counters::{CIRCUIT, Counters, OPENS};
use super::lanes::{Lane, Level};
use super::read::Unread;
use super::verdict::Replay;
use super::words::{YEAR_9999_MS, span};
use crate::probe::{Health, Readiness};
use crate::recording::{Begin, Line, Sample, Seen, StatusRead};

/// Times are milliseconds since 1970 on the recording's axis, which only goes forward.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) about: Begin,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) samples: u64,
    pub(crate) client: Lane,
    /// Of the circuit between edge and origin.
    pub(crate) circuit: Lane,
    /// `/ready` and what the origin depends on, as far as it was told.
    pub(crate) origin: Vec<Lane>,
    pub(crate) counters: Counters,
    /// From when to when nothing was recorded.
    pub(crate) gaps: Vec<(u64, u64)>,
    /// How often something could not be seen, and why.
    pub(crate) unseen: BTreeMap<(&'static str, String), u64>,
    pub(crate) unread: Unread,
    /// The origin at its worst.
    pub(crate) worst_ready: Option<Readiness>,
    /// The exit criteria, judged as `verify` would have.
    pub(crate) replay: Replay,
    client_cause: Option<String>,
    clock: Option<Clock>,
}

impl Story {
    pub(crate) fn new() -> Self {
        Self {
            about: Begin::default(),
            from: 0,
            to: 0,
            samples: 0,
            client: Lane::new("client"),
            circuit: Lane::new("circuit"),
            origin: [READY, "database", "redis", "realtime", "streamTicket"]
                .map(Lane::new)
                .into(),
            counters: Counters::default(),
            gaps: Vec::new(),
            unseen: BTreeMap::new(),
            unread: Unread::default(),
            worst_ready: None,
            replay: Replay::new(),
            client_cause: None,
            clock: None,
        }
    }

    pub(crate) fn take(&mut self, line: Line) {
        match line {
            Line::Begin(begin) => {
                if self.clock.is_some() {
                    self.gap(begin.at_ms);
                    self.clock = self.clock.map(|clock| Clock {
                        wall_ms: begin.at_ms,
                        elapsed_ms: 0,
                        ..clock
                    });
                } else {
                    self.begin(begin.at_ms, 0);
                    self.about = begin;
                }
            }
            Line::Status(status) => {
                self.pass(status.at_ms, status.elapsed_ms);
                self.status(status);
            }
            Line::Sample(sample) => {
                self.pass(sample.at_ms, sample.elapsed_ms);
                self.sample(*sample);
            }
            Line::End(end) => self.pass(end.at_ms, end.elapsed_ms),
            Line::Other => {}
        }
    }

    /// After the last line; `None` when there was none.
    pub(crate) fn told(mut self, unread: Unread) -> Option<Self> {
        self.clock?;
        self.unread = unread;
        self.close();
        self.replay.end(self.to);
        // What this build of the origin never told of is no row.
        let told = |lane: &Lane| lane.spans.iter().any(|span| span.level != Level::Unknown);
        self.origin.retain(|lane| lane.name == READY || told(lane));
        Some(self)
    }

    fn begin(&mut self, wall_ms: u64, elapsed_ms: u64) {
        let at = wall_ms.min(YEAR_9999_MS);
        (self.from, self.to) = (at, at);
        self.clock = Some(Clock {
            at,
            wall_ms,
            elapsed_ms,
        });
    }

    fn pass(&mut self, wall_ms: u64, elapsed_ms: u64) {
        let Some(clock) = self.clock else {
            self.begin(wall_ms, elapsed_ms);
            return;
        };
        let passed = clock.passed(wall_ms, elapsed_ms);
        // A look takes some seconds at the most.
        let patience = self
            .about
            .interval_ms
            .saturating_mul(3)
            .saturating_add(15_000);
        if self.about.interval_ms > 0 && passed > patience {
            self.gap(clock.at.saturating_add(passed));
        }
        let at = clock.at.saturating_add(passed).min(YEAR_9999_MS);
        self.to = at;
        self.clock = Some(Clock {
            at,
            wall_ms,
            elapsed_ms,
        });
    }

    fn gap(&mut self, until: u64) {
        self.close();
        self.replay.gap(self.to);
        let until = until.clamp(self.to, YEAR_9999_MS);
        if self.gaps.len() < GAPS_MAX {
            self.gaps.push((self.to, until));
        }
        self.to = until;
        if let Some(clock) = &mut self.clock {
            clock.at = until;
        }
        self.client_cause = None;
    }

    fn close(&mut self) {
        let lanes = [&mut self.client, &mut self.circuit].into_iter();
        for lane in lanes.chain(&mut self.origin) {
            lane.close(self.to);
        }
    }

    fn status(&mut self, status: StatusRead) {
        let (level, what) = match status.state.as_str() {
            "synced" => (Level::Good, "synced".to_owned()),
            "syncing" => (Level::Busy, "syncing".to_owned()),
            "degraded" => {
                let cause = status.cause.as_deref().unwrap_or("no cause told");
                let layer = status.layer.as_deref();
                let whose = layer.map_or(String::new(), |layer| format!(" ({layer})"));
                (Level::Bad, format!("{cause}{whose}"))
            }
            other => (Level::Unknown, other.to_owned()),
        };
        self.client.see(self.to, level, &what);
        self.replay.client(self.to, &status);
        self.client_cause = status.cause;
    }

    fn sample(&mut self, sample: Sample) {
        self.samples += 1;
        self.replay.sample(self.to, &sample);
        let ready = match sample.ready {
            Seen::Known(answer) => Ok(Readiness {
                status: answer.status,
                ready: answer.body,
            }),
            Seen::Unknown { unknown, failed } => Err((unknown, failed)),
        };
        for lane in &mut self.origin {
            match &ready {
                // It was asked, and is not ready whatever it is.
                Err((why, true)) if lane.name == READY => {
                    lane.see(self.to, Level::Bad, &format!("no answer: {why}"));
                }
                Err((why, false)) if lane.name == READY => {
                    lane.see(self.to, Level::Unknown, why);
                }
                Err(_) => lane.see(self.to, Level::Unknown, ""),
                Ok(seen) => match dependency(lane.name, seen) {
                    Some((level, what)) => lane.see(self.to, level, &what),
                    None => lane.close(self.to),
                },
            }
        }
        match ready {
            Ok(seen) => {
                // The worst that was told, and the latest of these.
                let worse = |was: &Readiness| ill(&seen) >= ill(was);
                if self.worst_ready.as_ref().is_none_or(worse) {
                    self.worst_ready = Some(seen);
                }
            }
            Err((why, _)) => self.count_unseen(READY, &why),
        }
        match &sample.edge {
            Seen::Unknown { unknown, .. } => {
                self.count_unseen("/api/v1/metrics", unknown);
                // What the client was told is evidence too.
                if self.client_cause.as_deref() == Some("circuit_open") {
                    let what = "open, as the client was told";
                    self.circuit.see(self.to, Level::Bad, what);
                } else {
                    self.circuit.see(self.to, Level::Unknown, "not to be seen");
                }
            }
            Seen::Known(metrics) => {
                let opened = self.opened();
                self.counters.see(self.to, metrics);
                let open = metrics
                    .vps_proxy_circuit
                    .as_ref()
                    .map(|circuit| circuit.open);
                let (level, what) = match open {
                    Some(true) => (Level::Bad, "open"),
                    _ if self.opened() > opened => (Level::Bad, "opened since the last look"),
                    Some(false) => (Level::Good, "closed"),
                    None => (Level::Unknown, "this edge does not tell"),
                };
                self.circuit.see(self.to, level, what);
            }
        }
    }

    /// How often the circuit opened since the recording began.
    pub(crate) fn opened(&self) -> u64 {
        self.counters.get(CIRCUIT, OPENS).map_or(0, |s| s.rose)
    }

    fn count_unseen(&mut self, what: &'static str, why: &str) {
        if self.unseen.len() < UNSEEN_MAX || self.unseen.contains_key(&(what, why.to_owned())) {
            *self.unseen.entry((what, why.to_owned())).or_default() += 1;
        }
    }
}

/// Where the recording's axis stands.
#[derive(Clone, Copy, Debug)]
struct Clock {
    at: u64,
    wall_ms: u64,
    elapsed_ms: u64,
}

impl Clock {
    /// How much time passed up to this line. The steady clock stands still while the machine sleeps; the
    /// wall clock can be set back.
    fn passed(self, wall_ms: u64, elapsed_ms: u64) -> u64 {
        let steady = elapsed_ms.saturating_sub(self.elapsed_ms);
        let wall = wall_ms.saturating_sub(self.wall_ms);
        if wall > steady.saturating_add(CLOCKS_APART_MS) {
            wall
        } else {
            steady
        }
    }
}

/// How many dependencies are not well, and whether the origin is not ready.
fn ill(seen: &Readiness) -> (bool, usize) {
    let all = seen.dependencies();
    let lame = all
        .iter()
        .filter(|(_, h)| matches!(h, Health::Down(_) | Health::Degraded(_)));
    (!seen.is_ready(), lame.count())
}

/// How a dependency was; `None` where this build of the origin does not tell.
fn dependency(name: &str, seen: &Readiness) -> Option<(Level, String)> {
    let all = without_spans(seen.clone()).dependencies();
    if name == READY {
        let lame = all
            .iter()
            .filter(|(_, h)| matches!(h, Health::Down(_) | Health::Degraded(_)));
        let lame: Vec<_> = lame.map(|(name, _)| *name).collect();
        let cause = seen.ready.ready_cause.as_ref();
        let cause = cause.map_or(String::new(), |cause| format!(": {}", cause.as_str()));
        return Some(match seen.is_ready() {
            true if lame.is_empty() => (Level::Good, "200".to_owned()),
            true => (
                Level::Busy,
                format!("200, but {} not well", lame.join(", ")),
            ),
            false => (Level::Bad, format!("{}, not ready{cause}", seen.status)),
        });
    }
    let (_, health) = all.into_iter().find(|(known, _)| *known == name)?;
    match health {
        Health::Well => Some((Level::Good, "healthy".to_owned())),
        Health::Degraded(why) => Some((Level::Busy, format!("degraded: {why}"))),
        Health::Down(why) => Some((Level::Bad, format!("down: {why}"))),
        Health::NotTold => None,
    }
}

/// For how long something has been so is in the picture already, and would be another span at each look.
fn without_spans(mut seen: Readiness) -> Readiness {
    let parts = &mut seen.ready.dependencies;
    if let Some(redis) = &mut parts.redis {
        redis.degraded_for_ms = None;
    }
    if let Some(realtime) = &mut parts.realtime {
        realtime.degraded_for_ms = None;
    }
    seen
}

/// From when to when the client was degraded, however often the cause changed meanwhile.
#[derive(Debug)]
pub(crate) struct Episode {
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// Each cause once, in the order in which they came, with its time.
    pub(crate) causes: Vec<(String, u64)>,
    /// It was not over when the recording ended, or went unrecorded.
    pub(crate) open: bool,
}

pub(crate) fn episodes(story: &Story) -> Vec<Episode> {
    let mut episodes: Vec<Episode> = Vec::new();
    for (i, span) in story.client.spans.iter().enumerate() {
        if span.level != Level::Bad {
            continue;
        }
        let next = story.client.spans.get(i + 1);
        let open = next.is_none_or(|next| next.from > span.to);
        let goes_on = episodes.last_mut().filter(|last| last.to == span.from);
        if let Some(last) = goes_on {
            last.to = span.to;
            last.open = open;
            match last.causes.iter_mut().find(|(what, _)| *what == span.what) {
                Some((_, time)) => *time += span.length(),
                None => last.causes.push((span.what.clone(), span.length())),
            }
        } else {
            episodes.push(Episode {
                from: span.from,
                to: span.to,
                causes: vec![(span.what.clone(), span.length())],
                open,
            });
        }
    }
    episodes
}

impl Episode {
    pub(crate) fn length_words(&self) -> String {
        let length = span(self.to.saturating_sub(self.from));
        if self.open {
            format!("{length} or more")
        } else {
            length
        }
    }
}

pub(crate) const READY: &str = "/ready";
/// Both clocks run at slightly different speeds, and a line is written after both were read.
const CLOCKS_APART_MS: u64 = 2_000;
const GAPS_MAX: usize = 1000;
const UNSEEN_MAX: usize = 20;
