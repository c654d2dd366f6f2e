//! What a step of the drill found, as people and machines read it.

use serde::{Deserialize, Serialize};

use crate::cli::OneFormat;
use crate::exit::{Failed, Outcome};
use crate::handshake::{State, mark};
use crate::output::{Colour, Output};

/// What `--format json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    verdict: Verdict,
    criteria: Vec<Criterion>,
    /// The operator's to run, in this order.
    commands: Vec<&'static str>,
    next_steps: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wait_until_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Passed,
    Failed,
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Criterion {
    pub(super) id: &'static str,
    pub(super) state: State,
    pub(super) evidence: String,
}

/// What is under way, on a terminal.
pub(super) fn progress(format: OneFormat, words: &str) -> std::io::Result<()> {
    match format {
        OneFormat::Text => Output::new().live(&[(Colour::Faint, format!("{words} …"))]),
        OneFormat::Json => Ok(()),
    }
}

impl Criterion {
    pub(super) fn new(id: &'static str, state: State, evidence: impl Into<String>) -> Self {
        Self {
            id,
            state,
            evidence: evidence.into(),
        }
    }
}

impl Report {
    /// The worst of the criteria decides.
    pub(super) fn of(criteria: Vec<Criterion>) -> Self {
        let worst = criteria.iter().map(|criterion| criterion.state).max();
        let verdict = match worst {
            Some(State::Pass) => Verdict::Passed,
            Some(State::Fail) => Verdict::Failed,
            Some(State::Unknown) | None => Verdict::Unknown,
        };
        Self {
            verdict,
            criteria,
            commands: Vec::new(),
            next_steps: Vec::new(),
            wait_until_ms: None,
        }
    }

    pub(super) const fn verdict(&self) -> Verdict {
        self.verdict
    }

    pub(super) fn commands(mut self, commands: &[&'static str]) -> Self {
        self.commands.extend(commands);
        self
    }

    pub(super) fn next(mut self, step: impl Into<String>) -> Self {
        self.next_steps.push(step.into());
        self
    }

    pub(super) fn and(mut self, steps: Vec<String>) -> Self {
        self.next_steps.extend(steps);
        self
    }

    pub(super) const fn wait_until(mut self, at_ms: Option<u64>) -> Self {
        self.wait_until_ms = at_ms;
        self
    }

    pub(super) fn tell(&self, format: OneFormat) -> Result<Outcome, Failed> {
        let output = Output::new();
        match format {
            OneFormat::Json => output.json(self)?,
            OneFormat::Text => self.tell_people(&output)?,
        }
        Ok(match self.verdict {
            Verdict::Passed => Outcome::AsAsked,
            Verdict::Failed => Outcome::NotReached,
            Verdict::Unknown => Outcome::Unknown,
        })
    }

    fn tell_people(&self, output: &Output) -> std::io::Result<()> {
        for criterion in &self.criteria {
            let mark = mark(output, criterion.state);
            let text = format!("{mark}  {:<15}{}", criterion.id, criterion.evidence);
            output.line(&text)?;
        }
        if !self.commands.is_empty() {
            output.line("\nRun these yourself, in this order:")?;
            for command in &self.commands {
                output.line(&format!("  {}", output.paint(Colour::Bold, command)))?;
            }
        }
        if !self.next_steps.is_empty() {
            output.line("\nThen:")?;
            for step in &self.next_steps {
                output.line(&format!("  {step}"))?;
            }
        }
        let (colour, word) = match self.verdict {
            Verdict::Passed => (Colour::Good, "passed"),
            Verdict::Failed => (Colour::Bad, "failed"),
            Verdict::Unknown => (Colour::Busy, "unknown"),
        };
        output.line(&output.paint(colour, word))
    }
}
