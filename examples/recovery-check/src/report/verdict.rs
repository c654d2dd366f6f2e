//! Whether all was well at the end: the runbook's exit criteria over the recording's last window.

use std::time::Duration;

use super::counters::{CIRCUIT, OPENS, REJECTS};
use super::lanes::{Lane, Level};
use super::story::{READY, Story};
use super::words::span;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There was no trouble at all.
    Healthy,
    Recovered,
    NotRecovered,
    Unknown,
}

impl Verdict {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Recovered => "recovered",
            Self::NotRecovered => "not_recovered",
            Self::Unknown => "unknown",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Pass,
    Fail,
    Unknown,
}

/// One criterion, and what was seen of it.
#[derive(Debug)]
pub(crate) struct Criterion {
    pub(crate) id: &'static str,
    pub(crate) state: State,
    pub(crate) evidence: String,
}

pub(crate) fn judge(story: &Story, window: Duration) -> (Verdict, [Criterion; 3]) {
    let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
    let from = story.to.saturating_sub(window_ms);
    let mut criteria = [
        ready(story, from),
        circuit(story, from),
        client(story, from),
    ];
    let gap = story.gaps.iter().any(|(_, until)| *until > from);
    if from < story.from || gap {
        for criterion in criteria.iter_mut().filter(|c| c.state == State::Pass) {
            criterion.state = State::Unknown;
            criterion.evidence = format!(
                "{}; less than {} recorded at the end",
                criterion.evidence,
                span(window_ms)
            );
        }
    }
    let any = |state| criteria.iter().any(|criterion| criterion.state == state);
    let verdict = if any(State::Fail) {
        Verdict::NotRecovered
    } else if any(State::Unknown) {
        Verdict::Unknown
    } else if trouble(story) {
        Verdict::Recovered
    } else {
        Verdict::Healthy
    };
    (verdict, criteria)
}

fn trouble(story: &Story) -> bool {
    let bad = |lane: &Lane| lane.spans.iter().any(|span| span.level == Level::Bad);
    let lame = |lane: &Lane| lane.spans.iter().any(|span| span.level == Level::Busy);
    bad(&story.client)
        || bad(&story.circuit)
        || story.origin.iter().any(|lane| bad(lane) || lame(lane))
}

fn ready(story: &Story, from: u64) -> Criterion {
    let lane = story.origin.iter().find(|lane| lane.name == READY);
    let worst = lane.and_then(|lane| lane.worst(from, story.to));
    let (state, evidence) = match worst {
        Some(span) if span.level == Level::Good => {
            (State::Pass, "200 with healthy dependencies".to_owned())
        }
        Some(span) if span.level == Level::Unknown => {
            (State::Unknown, format!("not to be seen: {}", span.what))
        }
        Some(span) => (State::Fail, span.what.clone()),
        None => (State::Unknown, "never looked at".to_owned()),
    };
    Criterion {
        id: "ready",
        state,
        evidence,
    }
}

fn circuit(story: &Story, from: u64) -> Criterion {
    let rose = |name| {
        let series = story.counters.get(CIRCUIT, name);
        let rises = series.map_or(&[][..], |series| &series.rises);
        rises
            .iter()
            .filter(|rise| rise.to > from)
            .map(|rise| rise.by)
            .sum::<u64>()
    };
    let (opened, rejected) = (rose(OPENS), rose(REJECTS));
    let restarted = story.counters.restarts.iter().any(|at| *at > from);
    let worst = story.circuit.worst(from, story.to).map(|span| span.level);
    let (state, evidence) = match worst {
        _ if opened + rejected > 0 => {
            let evidence =
                format!("opened {opened} times, rejected {rejected} requests at the end");
            (State::Fail, evidence)
        }
        Some(Level::Bad) => (State::Fail, "open at the end".to_owned()),
        _ if restarted => {
            let evidence = "the edge was started anew at the end: its counters say nothing";
            (State::Unknown, evidence.to_owned())
        }
        Some(Level::Good) => (
            State::Pass,
            "closed, and its counters stand still".to_owned(),
        ),
        _ => (
            State::Unknown,
            "the edge's counters are not to be seen".to_owned(),
        ),
    };
    Criterion {
        id: "circuit",
        state,
        evidence,
    }
}

fn client(story: &Story, from: u64) -> Criterion {
    let (state, evidence) = match story.client.worst(from, story.to) {
        Some(span) if span.level == Level::Bad => (State::Fail, format!("degraded: {}", span.what)),
        Some(span) if span.level == Level::Unknown => (
            State::Unknown,
            format!("in an unknown state: {}", span.what),
        ),
        Some(_) if story.last_link != "stream" => (
            State::Fail,
            format!("no live stream: link {}", story.last_link),
        ),
        Some(_) => (State::Pass, "not degraded, with a live stream".to_owned()),
        None => (State::Unknown, "no client was recorded".to_owned()),
    };
    Criterion {
        id: "client",
        state,
        evidence,
    }
}
