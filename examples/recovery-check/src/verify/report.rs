//! The verdict as people and machines read it.

use std::fmt::Write as _;

use serde::Serialize;

use super::criteria::Criterion;
use crate::handshake::State;

/// What `--format json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) verdict: Verdict,
    pub(crate) criteria: Vec<Criterion>,
    /// How often everything was looked at.
    pub(crate) samples: u64,
    #[serde(skip)]
    pub(crate) took_s: f64,
    /// Unknown ones that were allowed to be.
    #[serde(skip)]
    pub(crate) allowed: Vec<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Recovered,
    NotRecovered,
    Unknown,
}

impl Verdict {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Recovered => "recovered",
            Self::NotRecovered => "not recovered",
            Self::Unknown => "unknown",
        }
    }
}

impl Report {
    /// A test for each criterion.
    pub(crate) fn junit(&self) -> String {
        let count = |state| self.criteria.iter().filter(|c| c.state == state).count();
        let unknown = self.criteria.iter().filter(|c| c.state == State::Unknown);
        let (skipped, errors): (Vec<_>, Vec<_>) =
            unknown.partition(|c| self.allowed.contains(&c.id));
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        // Writing to a string cannot fail.
        let _ = writeln!(
            xml,
            "<testsuite name=\"recovery-check verify\" tests=\"{}\" failures=\"{}\" errors=\"{}\" \
             skipped=\"{}\" time=\"{:.3}\">",
            self.criteria.len(),
            count(State::Fail),
            errors.len(),
            skipped.len(),
            self.took_s,
        );
        for criterion in &self.criteria {
            let evidence = escaped(&criterion.evidence);
            let element = match criterion.state {
                State::Pass => format!("<system-out>{evidence}</system-out>"),
                State::Fail => format!("<failure message=\"{evidence}\"/>"),
                State::Unknown if self.allowed.contains(&criterion.id) => {
                    format!("<skipped message=\"{evidence}\"/>")
                }
                State::Unknown => format!("<error message=\"{evidence}\"/>"),
            };
            let _ = writeln!(
                xml,
                "  <testcase classname=\"recovery\" name=\"{}\">{element}</testcase>",
                criterion.id
            );
        }
        xml.push_str("</testsuite>");
        xml
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            _ => escaped.push(c),
        }
    }
    escaped
}
