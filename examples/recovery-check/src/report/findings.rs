//! What triage says of the whole recording: the same rules, over the origin at its worst and over all
//! that the counters rose.

use serde_json::{Map, Value, json};
use std::time::Duration;

use super::counters::{PROVIDERS, UPSTREAM};
use super::lanes::Level;
use super::story::Story;
use crate::probe::Counted;
use crate::triage::{Counters, Evidence, Finding, diagnose};

/// Most likely root first.
pub(crate) fn findings(story: &Story) -> Vec<Finding> {
    let evidence = Evidence {
        ready: story.worst_ready.clone().map(Ok),
        counters: risen(story).map(Ok),
        now_ms: i64::try_from(story.to).unwrap_or(i64::MAX),
        ..Evidence::default()
    };
    diagnose(&evidence).1
}

/// Everything that rose, as if it had been counted from zero; restarts are added up already.
fn risen(story: &Story) -> Option<Counters> {
    let (mut totals, mut upstream, mut provider) = (Map::new(), Map::new(), Map::new());
    for series in story.counters.moved() {
        let into = match series.group {
            UPSTREAM => &mut upstream,
            PROVIDERS => &mut provider,
            _ => &mut totals,
        };
        into.insert(series.name.clone(), series.rose.into());
    }
    let counted = |value: Value| {
        let metrics = serde_json::from_value(value).ok()?;
        Some(Counted { metrics })
    };
    // Its groups lie apart on the wire; each takes its own names from here.
    let reliability = json!({ "authConfig": totals, "runtimeConfig": totals,
        "secretRotation": totals, "kvFailures": totals.get("kvFailures") });
    let causes = json!({ "upstream": upstream, "provider": provider });
    let open = story
        .circuit
        .spans
        .last()
        .is_some_and(|s| s.level == Level::Bad);
    let nothing = json!({ "metrics": {}, "failureCauses": {}, "reliability": {} });
    story.counters.seen().then_some(())?;
    Some(Counters {
        before: counted(nothing)?,
        after: counted(json!({ "metrics": totals, "failureCauses": causes,
            "reliability": reliability, "vpsProxyCircuit": { "open": open } }))?,
        apart: Duration::from_millis(story.to - story.from),
    })
}
