//! What held from when to when.

/// How well something was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Good,
    Busy,
    Unknown,
    Bad,
}

/// Something that held for a while. Times are milliseconds on the recording's axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) level: Level,
    /// In words; what the picture has room for, and the tooltip.
    pub(crate) what: String,
}

impl Span {
    pub(crate) fn length(&self) -> u64 {
        self.to.saturating_sub(self.from)
    }
}

/// A row of the timeline: spans in order, without overlap; between them nothing was recorded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lane {
    pub(crate) name: &'static str,
    pub(crate) spans: Vec<Span>,
    open: bool,
}

impl Lane {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            ..Self::default()
        }
    }

    /// What was seen at this time holds until something else is seen.
    pub(crate) fn see(&mut self, at: u64, level: Level, what: &str) {
        if let Some(last) = self.spans.last_mut().filter(|_| self.open) {
            last.to = at;
            if last.level == level && last.what == what {
                return;
            }
        }
        self.open = true;
        self.spans.push(Span {
            from: at,
            to: at,
            level,
            what: what.to_owned(),
        });
        if self.spans.len() > SPANS_MAX {
            self.thin();
        }
    }

    /// Nothing is known from here on.
    pub(crate) fn close(&mut self, at: u64) {
        if let Some(last) = self.spans.last_mut().filter(|_| self.open) {
            last.to = at;
        }
        self.open = false;
    }

    /// What is so now; `None` where nobody told.
    pub(crate) fn now(&self) -> Option<&Span> {
        self.spans.last().filter(|_| self.open)
    }

    /// How long it was at this level.
    pub(crate) fn time_at(&self, level: Level) -> u64 {
        let there = self.spans.iter().filter(|span| span.level == level);
        there.map(Span::length).sum()
    }

    /// As the same time in at most this many spans, each with the worst that it holds: what is short
    /// and bad stays in the picture.
    pub(crate) fn coarse(&self, spans_max: usize) -> Vec<Span> {
        let mut spans = self.spans.clone();
        while spans.len() > spans_max {
            let pairs = spans.chunks(2).map(|pair| match pair {
                [a, b] if a.to == b.from => {
                    let worse = if a.level >= b.level { a } else { b };
                    vec![Span {
                        from: a.from,
                        to: b.to,
                        ..worse.clone()
                    }]
                }
                pair => pair.to_vec(),
            });
            let fewer: Vec<Span> = pairs.flatten().collect();
            if fewer.len() == spans.len() {
                break;
            }
            spans = fewer;
        }
        spans
    }

    fn thin(&mut self) {
        self.spans = self.coarse(SPANS_MAX / 2);
    }
}

/// More changes than this are for statistics, not for a picture.
const SPANS_MAX: usize = 50_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_seen_holds_until_something_else_is_seen_or_nobody_looks() {
        let mut lane = Lane::new("x");
        lane.see(0, Level::Good, "fine");
        lane.see(2, Level::Good, "fine");
        lane.see(4, Level::Bad, "down");
        lane.see(6, Level::Bad, "down");
        lane.close(7);
        lane.see(20, Level::Bad, "down");
        lane.close(22);
        let spans: Vec<_> = lane.spans.iter().map(|s| (s.from, s.to, s.level)).collect();
        assert_eq!(
            spans,
            [
                (0, 4, Level::Good),
                (4, 7, Level::Bad),
                (20, 22, Level::Bad)
            ]
        );
        assert_eq!(lane.time_at(Level::Bad), 5);
        assert!(lane.now().is_none(), "it was closed");
        lane.see(23, Level::Good, "fine");
        assert_eq!(lane.now().unwrap().from, 23);
    }

    #[test]
    fn a_coarse_lane_keeps_its_time_and_its_worst() {
        let mut lane = Lane::new("x");
        for at in 0..1000 {
            let level = if at == 501 { Level::Bad } else { Level::Good };
            lane.see(at, level, &at.to_string());
        }
        lane.close(1000);
        let coarse = lane.coarse(10);
        assert!(coarse.len() <= 10);
        assert_eq!((coarse[0].from, coarse.last().unwrap().to), (0, 1000));
        assert_eq!(coarse.iter().filter(|s| s.level == Level::Bad).count(), 1);
    }
}
