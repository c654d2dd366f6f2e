//! What the picture shows.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use evenkeel::{Link, Status, SyncState};

use crate::cli;
use crate::recording::{Begin, Line, Sample, Seen, StatusRead, place};
use crate::report::counters::Series;
use crate::report::lanes::Level;
use crate::report::story::Story;
use crate::status_line::{details, wall_ms};

/// Everything that was seen since the watch began, as far as it is shown.
pub(crate) struct Live {
    pub(crate) story: Story,
    /// Why the edge's counters are not to be seen; `None` while they are.
    pub(crate) unseen: Option<String>,
    /// The newest last.
    pub(crate) log: VecDeque<Entry>,
    begun: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) at: u64,
    pub(crate) level: Level,
    pub(crate) text: String,
}

/// What the client says of itself at this moment.
pub(crate) struct Client {
    pub(crate) state: SyncState,
    /// Most important first: a narrow screen cuts the end off.
    pub(crate) words: String,
}

impl Client {
    pub(crate) fn of(status: &Status) -> Self {
        Self {
            state: status.state,
            words: details(status).trim_start().to_owned(),
        }
    }
}

impl Live {
    pub(crate) fn new(service: &cli::Service, interval: Duration) -> Self {
        let mut story = Story::new();
        story.take(Line::Begin(Begin {
            v: 1,
            at_ms: wall_ms(),
            tool: crate::USER_AGENT.to_owned(),
            edge: place(service.edge.as_deref().unwrap_or_default()),
            origin: service.origin.as_deref().map(place),
            interval_ms: u64::try_from(interval.as_millis())
                .unwrap_or(u64::MAX)
                .max(1),
        }));
        Self {
            story,
            unseen: Some("not looked at yet".to_owned()),
            log: VecDeque::new(),
            begun: Instant::now(),
        }
    }

    pub(crate) fn status(&mut self, status: &Status) {
        self.take_status(StatusRead::of(status, self.begun));
    }

    pub(super) fn take_status(&mut self, status: StatusRead) {
        let mut text = status.state.clone();
        if let Some(cause) = &status.cause {
            text.push_str(&format!(": {cause}"));
        }
        if let Some(layer) = &status.layer {
            text.push_str(&format!(" ({layer})"));
        }
        if status.link != Link::None.as_str() {
            text.push_str(&format!(", {}", status.link));
        }
        self.story.take(Line::Status(status));
        let level = self.story.client.now().map_or(Level::Unknown, |s| s.level);
        self.say(level, text);
    }

    pub(crate) fn sample(&mut self, sample: Sample) {
        self.unseen = match &sample.edge {
            Seen::Known(_) => None,
            Seen::Unknown { unknown, .. } => Some(unknown.clone()),
        };
        let restarts = self.story.counters.restarts.len();
        self.story.take(Line::Sample(Box::new(sample)));
        if self.story.counters.restarts.len() > restarts {
            let text = "the edge was restarted: its counters began again".to_owned();
            self.say(Level::Busy, text);
        }
        let interval = self.story.about.interval_ms;
        let shown = interval.saturating_mul(LOOKS_MAX);
        self.story
            .counters
            .forget(self.story.to.saturating_sub(shown));
    }

    /// The counters that somebody looks for in an incident: the circuit's in any case, causes that were
    /// ever counted, and what has risen.
    pub(crate) fn counters(&self) -> Vec<(&Series, u64)> {
        let mut all = self.story.counters.all();
        all.retain(|(series, value)| {
            series.rose > 0
                || series.group == crate::report::counters::CIRCUIT
                || (series.group.ends_with("causes") && *value > 0)
        });
        all
    }

    fn say(&mut self, level: Level, text: String) {
        if self.log.back().is_some_and(|last| last.text == text) {
            return;
        }
        let at = self.story.to;
        self.log.push_back(Entry { at, level, text });
        if self.log.len() > LOG_MAX {
            self.log.pop_front();
        }
    }
}

/// As many looks as a sparkline can have columns.
pub(crate) const LOOKS_MAX: u64 = 200;
const LOG_MAX: usize = 200;
