//! Each line of the runbook: the fault is made, `triage` names it first with the right next step, `verify`
//! refuses until it is mended and passes afterwards.

#![allow(clippy::unwrap_used)]

mod common;

use common::outages::{OUTAGES, Outage};
use common::{command, control, in_turns, lines, stack, stderr, url};

#[test]
fn each_outage_is_named_with_what_to_do_and_is_over_when_it_is_mended() {
    in_turns(OUTAGES.to_vec(), 4, outage);
}

fn outage(outage: Outage) {
    let (_stack, urls) = stack(&[
        "--set",
        "circuit_open_ms=700",
        "--set",
        "circuit_threshold=1",
        "--set",
        "proxy_timeout_ms=400",
        "--set",
        "heartbeat_ms=300",
    ]);
    for (fault, value) in outage.faults {
        let path = format!("/faults/{fault}");
        control(url(&urls, "control"), "PUT", &path, value);
    }
    named_first(&outage, &urls);
    let verify = |deadline: &str| {
        let output = command(&["verify", "--window", "1s", "--interval", "200ms"])
            .args([
                "--deadline",
                deadline,
                "--heartbeat-within",
                "5s",
                "--format",
                "json",
            ])
            .args([
                "--edge",
                url(&urls, "edge"),
                "--origin",
                url(&urls, "origin"),
            ])
            .env("EVENKEEL_TOKEN", "demo-token")
            .output()
            .unwrap();
        (output.status.code(), lines(&output).remove(0))
    };
    let (code, report) = verify("3s");
    assert_eq!(code, Some(1), "{outage:?}: {report}");
    control(url(&urls, "control"), "POST", "/reset", "");
    let (code, report) = verify("90s");
    assert_eq!(code, Some(0), "{outage:?}: {report}");
}

fn named_first(outage: &Outage, urls: &[(String, String)]) {
    let output = command(&["triage", "--sample", "300ms", "--format", "json"])
        .args(["--edge", url(urls, "edge"), "--origin", url(urls, "origin")])
        .env("EVENKEEL_TOKEN", "demo-token")
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(1),
        "{outage:?}: {}",
        stderr(&output)
    );
    let report = lines(&output).remove(0);
    let findings = report["findings"].as_array().unwrap();
    let ids: Vec<_> = findings.iter().map(|f| f["id"].as_str().unwrap()).collect();
    let first = &findings[0];
    assert_eq!(ids[0], outage.findings[0], "{outage:?}: {report}");
    for id in outage.findings {
        assert!(ids.contains(id), "{outage:?}: {ids:?}");
    }
    assert_eq!(first["cause"], outage.cause, "{outage:?}: {first}");
    let next = first["next_steps"][0].as_str().unwrap();
    assert!(next.contains(outage.next), "{outage:?}: {next}");
}
