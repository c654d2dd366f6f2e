//! The diagnosis as people and scripts read it.

use std::fmt::Write as _;
use std::io;

use serde::Serialize;

use super::rules::{Finding, Severity, Verdict};
use super::step::{Step, StepState};
use crate::output::{Colour, Output};

/// What `--format json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) verdict: Verdict,
    pub(crate) findings: Vec<Finding>,
    pub(crate) steps: Vec<Step>,
}

impl Report {
    pub(crate) fn text(&self, output: &Output) -> io::Result<()> {
        output.line("")?;
        for step in &self.steps {
            let (colour, word) = match step.state {
                StepState::Ok => (Colour::Good, "ok     "),
                StepState::Unknown => (Colour::Busy, "unknown"),
                StepState::Failed => (Colour::Bad, "FAILED "),
            };
            let mark = output.paint(colour, word);
            for (i, line) in step.summary.iter().enumerate() {
                match i {
                    0 => output.line(&format!("{mark}  {:<13} {line}", step.id))?,
                    _ => output.line(&format!("{:<23}{line}", ""))?,
                }
            }
        }
        for (n, finding) in self.findings.iter().enumerate() {
            let colour = match finding.severity {
                Severity::Critical => Colour::Bad,
                Severity::Warning => Colour::Busy,
                Severity::Info => Colour::Faint,
            };
            output.line("")?;
            let title = title(finding);
            output.line(&output.paint(colour, &format!("{}. {title}", n + 1)))?;
            output.line(&format!("   {}", finding.explanation))?;
            for evidence in &finding.evidence {
                output.line(&format!("   - {evidence}"))?;
            }
            for step in &finding.next_steps {
                output.line(&format!("   > {step}"))?;
            }
        }
        output.line("")?;
        let colour = match self.verdict {
            Verdict::Healthy => Colour::Good,
            Verdict::Unhealthy => Colour::Bad,
            Verdict::Unknown => Colour::Busy,
        };
        output.line(&output.paint(colour, self.verdict.word()))
    }

    /// For an incident's page.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("# Triage: {}\n\n", self.verdict.word());
        text.push_str("| step | state | seen |\n|---|---|---|\n");
        // Writing to a string cannot fail.
        for step in &self.steps {
            let state = match step.state {
                StepState::Ok => "ok",
                StepState::Unknown => "unknown",
                StepState::Failed => "**failed**",
            };
            let seen: Vec<_> = step.summary.iter().map(|line| escaped(line)).collect();
            let _ = writeln!(text, "| {} | {state} | {} |", step.id, seen.join("<br>"));
        }
        for (n, finding) in self.findings.iter().enumerate() {
            let _ = writeln!(text, "\n## {}. {}\n", n + 1, escaped(&title(finding)));
            let _ = writeln!(text, "{}\n", finding.explanation);
            for evidence in &finding.evidence {
                let _ = writeln!(text, "- {}", escaped(evidence));
            }
            text.push_str("\nNext steps:\n\n");
            for (n, step) in finding.next_steps.iter().enumerate() {
                let _ = writeln!(text, "{}. {step}", n + 1);
            }
        }
        text
    }
}

impl Verdict {
    const fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Unknown => "unknown",
        }
    }
}

fn title(finding: &Finding) -> String {
    let severity = match finding.severity {
        Severity::Critical => "critical",
        Severity::Warning => "warning",
        Severity::Info => "info",
    };
    match finding.id == finding.cause {
        true => format!("{} ({severity})", finding.id),
        false => format!("{}: {} ({severity})", finding.id, finding.cause),
    }
}

/// What others wrote must not become markup.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '#' => {
                escaped.push('\\');
                escaped.push(c);
            }
            _ => escaped.push(c),
        }
    }
    escaped
}
