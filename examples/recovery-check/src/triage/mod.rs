//! `triage`: the runbook's four steps side by side, and what most likely is behind it.

mod advice;
mod evidence;
mod report;
mod rules;
mod step;

use crate::cli::{self, ReportFormat};
use crate::connect;
use crate::exit::{Failed, Outcome};
use crate::output::{Colour, Output};
pub(crate) use evidence::{Counters, Evidence};
use report::Report;
use rules::Verdict;
pub(crate) use rules::{Finding, Severity, diagnose};

pub(crate) async fn run(service: &cli::Service, args: cli::Triage) -> Result<Outcome, Failed> {
    let probe = connect::probe(service)?;
    if probe.edge.is_none() && probe.origin.is_none() {
        return Err(Failed::configuration(
            "which service? Give --edge URL and --origin URL, or set EVENKEEL_EDGE and EVENKEEL_ORIGIN",
        ));
    }
    let output = Output::new();
    let live = args.format == ReportFormat::Text;
    let note = |text: String| {
        if live {
            // Progress: who does not read it, reads the report.
            let _ = output.line(&output.paint(Colour::Faint, &text));
        }
    };
    let evidence = evidence::gather(&probe, args.server_log, args.sample, &note).await;
    let (verdict, findings) = diagnose(&evidence);
    let report = Report {
        verdict,
        findings,
        steps: step::steps(&evidence),
    };
    match args.format {
        ReportFormat::Text => report.text(&output)?,
        ReportFormat::Json => output.json(&report)?,
        ReportFormat::Markdown => output.line(report.markdown().trim_end())?,
    }
    Ok(match verdict {
        Verdict::Healthy => Outcome::AsAsked,
        Verdict::Unhealthy => Outcome::NotReached,
        Verdict::Unknown => Outcome::Unknown,
    })
}
