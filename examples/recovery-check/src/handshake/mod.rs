//! `handshake`: ticket, then stream, with a connector of our own so that each phase is a real one.

mod attempt;
mod ticket;

use serde::Serialize;

use crate::cli::{self, OneFormat};
use crate::connect;
use crate::exit::{Failed, Outcome};
use crate::output::{Colour, Output};
use crate::probe::Probe;
pub(crate) use attempt::{Attempt, attempt};

/// What of a phase or a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Pass,
    Unknown,
    Fail,
}

#[derive(Debug, Serialize)]
struct Report {
    verdict: &'static str,
    attempts: Vec<Attempt>,
}

pub(crate) async fn run(service: &cli::Service, args: cli::Handshake) -> Result<Outcome, Failed> {
    let probe = connect::probe_as_user(service)?;
    let output = Output::new();
    let mut attempts = Vec::new();
    for n in 1..=args.count {
        let attempt = attempt(&probe, args.heartbeat_within).await;
        if args.format == OneFormat::Text {
            tell(&output, &attempt, n, &probe)?;
        }
        attempts.push(attempt);
    }
    let worst = attempts.iter().map(Attempt::state).max();
    let (verdict, outcome) = match worst.unwrap_or(State::Unknown) {
        State::Pass => ("ok", Outcome::AsAsked),
        State::Fail => ("failed", Outcome::NotReached),
        State::Unknown => ("unknown", Outcome::Unknown),
    };
    match args.format {
        OneFormat::Text => output.line(verdict)?,
        OneFormat::Json => output.json(&Report { verdict, attempts })?,
    }
    Ok(outcome)
}

fn tell(output: &Output, attempt: &Attempt, n: u32, probe: &Probe) -> std::io::Result<()> {
    let edge = probe.edge.as_ref().map(ToString::to_string);
    let title = format!("handshake {n} with {}", edge.unwrap_or_default());
    output.line(&output.paint(Colour::Bold, &title))?;
    for phase in &attempt.phases {
        let took = phase
            .took_ms
            .map_or(String::new(), |ms| format!("{ms:.1} ms"));
        let mark = mark(output, phase.state);
        let text = format!("  {mark}  {:<16}{took:>11}  {}", phase.id, phase.evidence);
        output.line(text.trim_end())?;
    }
    for check in &attempt.checks {
        let mark = mark(output, check.state);
        output.line(&format!(
            "  {mark}  {:<16}{:>11}  {}",
            check.id, "", check.evidence
        ))?;
    }
    Ok(())
}

pub(crate) fn mark(output: &Output, state: State) -> String {
    match state {
        State::Pass => output.paint(Colour::Good, "pass   "),
        State::Unknown => output.paint(Colour::Busy, "unknown"),
        State::Fail => output.paint(Colour::Bad, "FAIL   "),
    }
}
