//! The picture in each state of things, and the terminal after a panic.

#![allow(clippy::unwrap_used)]

#[cfg(unix)]
#[path = "../../tests/common/pty.rs"]
mod pty;

use std::time::Duration;

use evenkeel::SyncState;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Color;
use serde_json::{Value, json};

use super::model::{Client, Live};
use super::view;
use crate::cli::Service;
use crate::recording::Line;

fn live() -> Live {
    let service = Service {
        edge: Some("https://me:pw@sync.example.com/x".to_owned()),
        origin: Some("http://10.0.0.5:3000".to_owned()),
        token_file: None,
        ca_file: None,
        device_id: None,
        state_dir: None,
    };
    Live::new(&service, Duration::from_secs(1))
}

fn client(state: SyncState, words: &str) -> Client {
    let words = words.to_owned();
    Client { state, words }
}

/// A line of a recording, so many seconds after the first.
fn tell(live: &mut Live, at_s: u64, mut line: Value) {
    line["elapsed_ms"] = json!(at_s * 1_000);
    line["at_ms"] = json!(live.story.from + at_s * 1_000);
    match serde_json::from_value(line).unwrap() {
        Line::Status(status) => live.take_status(status),
        Line::Sample(sample) => live.sample(*sample),
        other => panic!("{other:?}"),
    }
}

fn sample(ready: Value, edge: Value) -> Value {
    json!({ "event": "sample", "ready": ready, "edge": edge })
}

fn well() -> Value {
    json!({ "status": 200, "body": { "ok": true, "dependencies": {
        "database": { "ok": true }, "redis": { "ok": true },
        "realtime": { "mode": "distributed" }, "streamTicket": { "replayStoreAvailable": true } } } })
}

fn edge(rejects: u64, network_errors: u64, open: bool) -> Value {
    json!({ "metrics": { "vpsProxyCircuitOpens": 3, "vpsProxyCircuitRejects": rejects },
        "failureCauses": { "upstream": { "network_error": network_errors, "timeout": 7, "unheard_of": 0 } },
        "vpsProxyCircuit": { "open": open } })
}

fn drawn(live: &Live, client: &Client, size: (u16, u16), colours: bool) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
    terminal
        .draw(|frame| view::draw(frame, live, client, colours))
        .unwrap();
    terminal.backend().buffer().clone()
}

fn screen(live: &Live, client: &Client, size: (u16, u16)) -> String {
    let buffer = drawn(live, client, size, true);
    let rows = buffer.content().chunks(usize::from(size.0));
    let rows = rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>());
    rows.collect::<Vec<_>>().join("\n")
}

fn row<'a>(screen: &'a str, word: &str) -> &'a str {
    let found = screen.lines().find(|line| line.contains(word));
    found.unwrap_or_else(|| panic!("no {word} in:\n{screen}"))
}

fn has(screen: &str, words: &[&str]) {
    for word in words {
        assert!(screen.contains(word), "no {word} in:\n{screen}");
    }
}

#[test]
fn before_the_first_look_nothing_looks_fine() {
    let screen = screen(&live(), &client(SyncState::Syncing, "link none"), (80, 24));
    has(
        &screen,
        &[
            "syncing",
            "https://sync.example.com, origin http://10.0.0.5:3000",
        ],
    );
    for name in ["/ready", "database", "redis", "realtime", "streamTicket"] {
        assert!(row(&screen, name).contains("unknown"), "{screen}");
    }
    assert!(row(&screen, "edge counters").contains("circuit unknown"));
    assert!(!screen.contains("healthy") && !screen.contains("me:pw"));
}

#[test]
fn all_is_well() {
    let mut live = live();
    let synced = json!({ "event": "status", "state": "synced", "link": "stream" });
    tell(&mut live, 0, synced);
    tell(&mut live, 0, sample(well(), edge(9, 40, false)));
    tell(&mut live, 12, sample(well(), edge(9, 40, false)));
    let now = client(SyncState::Synced, "link stream  cursor 12");
    let screen = screen(&live, &now, (80, 24));
    assert!(row(&screen, " synced ").contains("cursor 12  for 12.0 s"));
    for name in ["database", "redis", "realtime", "streamTicket"] {
        assert!(row(&screen, name).contains("healthy"), "{screen}");
    }
    has(&screen, &["circuit closed", "synced, stream", "q quit"]);
    // What was counted before the watch stands there, and has not risen.
    let old = row(&screen, "upstream network_error");
    assert!(old.contains("40") && !old.contains('+'), "{screen}");
    assert!(!screen.contains("unheard_of"), "{screen}");
}

#[test]
fn an_outage_with_an_open_circuit() {
    let mut live = live();
    tell(&mut live, 0, sample(well(), edge(9, 40, false)));
    let degraded = json!({ "event": "status", "state": "degraded", "link": "none",
        "cause": "circuit_open", "layer": "edge" });
    tell(&mut live, 1, degraded);
    let down = json!({ "status": 503, "body": { "ok": false, "dependencies": {
        "database": { "ok": true }, "redis": { "ok": false, "status": "reconnecting" } } } });
    for n in 1..10 {
        tell(
            &mut live,
            n,
            sample(down.clone(), edge(9 + n * n, 41, true)),
        );
    }
    let now = client(
        SyncState::Degraded,
        "circuit_open (edge)  attempt 3  next in 4.0s",
    );
    let screen = screen(&live, &now, (80, 24));
    has(
        &screen,
        &[
            " degraded  circuit_open (edge)  attempt 3  next in 4.0s",
            "circuit open",
            "503, not ready",
            "down: reconnecting",
            "degraded: circuit_open (edge)",
        ],
    );
    let rejects = row(&screen, "vpsProxyCircuitRejects");
    has(rejects, &["90", "+81", "17/s", "▁", "▅", "█"]);
    assert!(row(&screen, "upstream network_error").contains("+1"));
    assert!(row(&screen, "realtime").contains("unknown: not told"));
}

#[test]
fn counters_that_are_not_told_are_unknown_and_old_ones_are_called_old() {
    let untold = || json!({ "unknown": "HTTP: 404: the counters are told to callers on the edge's own machine only" });
    let mut live = live();
    tell(
        &mut live,
        0,
        sample(json!({ "unknown": "no --origin was given" }), untold()),
    );
    let now = client(SyncState::Synced, "link stream");
    let picture = screen(&live, &now, (80, 24));
    has(&picture, &["circuit unknown", "unknown: HTTP: 404"]);
    assert!(row(&picture, "/ready").contains("unknown: no --origin"));
    assert!(!picture.contains("closed") && !picture.contains("healthy"));
    assert!(!picture.contains("vpsProxyCircuitOpens"), "{picture}");
    // Once seen, they are shown as what they were.
    tell(&mut live, 1, sample(well(), edge(1, 1, false)));
    tell(&mut live, 2, sample(well(), untold()));
    let picture = screen(&live, &now, (80, 24));
    has(
        &picture,
        &[
            "circuit unknown",
            "as they were last seen",
            "vpsProxyCircuitOpens",
        ],
    );
}

#[test]
fn a_restart_of_the_edge_is_told() {
    let mut live = live();
    tell(&mut live, 0, sample(well(), edge(9, 40, false)));
    tell(&mut live, 1, sample(well(), edge(0, 0, false)));
    let now = client(SyncState::Synced, "link stream");
    assert!(screen(&live, &now, (80, 24)).contains("the edge was restarted"));
}

#[test]
fn small_screens_show_what_matters_and_no_size_is_too_small() {
    let mut live = live();
    tell(&mut live, 0, sample(well(), edge(9, 40, false)));
    let degraded = json!({ "event": "status", "state": "degraded", "link": "none",
        "cause": "network_error", "layer": "upstream" });
    tell(&mut live, 1, degraded);
    tell(&mut live, 1, sample(well(), edge(12, 41, true)));
    let now = client(
        SyncState::Degraded,
        "network_error (upstream)  attempt 3  next in 4.0s",
    );
    let picture = screen(&live, &now, (40, 10));
    has(
        &picture,
        &[
            "degraded",
            "network_error",
            "next in 4.0s",
            "/ready  200",
            "circuit open",
            "vpsProxyCircuitOpens",
            "q quit",
        ],
    );
    for width in 1..70 {
        for height in 1..30 {
            drawn(&live, &now, (width, height), true);
        }
    }
    drawn(&live, &now, (400, 200), true);
}

#[test]
fn colours_are_left_out_where_they_are_not_wanted() {
    let mut live = live();
    tell(&mut live, 0, sample(well(), edge(9, 40, true)));
    let now = client(SyncState::Degraded, "offline");
    let coloured = |colours| {
        let buffer = drawn(&live, &now, (80, 24), colours);
        buffer
            .content()
            .iter()
            .any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
    };
    assert!(coloured(true));
    assert!(!coloured(false));
}

#[test]
fn what_a_service_invents_moves_no_cursor() {
    let mut live = live();
    let evil = "\u{1b}[2J\u{202e}evil\r\n";
    let edge = json!({ "metrics": {}, "failureCauses": { "upstream": { evil: 5 } } });
    let ready = json!({ "status": 503, "body": { "ok": false, "dependencies": {
        "redis": { "ok": false, "status": evil, "lastErrorMessage": evil } } } });
    tell(&mut live, 0, sample(ready, edge));
    let picture = screen(&live, &client(SyncState::Syncing, ""), (120, 30));
    assert!(picture.contains("evil"), "{picture}");
    assert!(!picture.contains(['\u{1b}', '\u{202e}', '\r']), "{picture}");
}

#[test]
#[cfg(unix)]
fn a_panic_gives_the_terminal_back_and_is_told() {
    const CHILD: &str = "EVENKEEL_PANICS";
    if std::env::var_os(CHILD).is_some() {
        let mut screen = super::Screen::take().unwrap();
        let now = client(SyncState::Syncing, "about to panic");
        let live = live();
        let draw = screen.0.draw(|frame| view::draw(frame, &live, &now, true));
        draw.unwrap();
        panic!("on purpose");
    }
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let test = "live::tests::a_panic_gives_the_terminal_back_and_is_told";
    command
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, "1");
    let mut terminal = pty::Pty::start(command);
    assert_eq!(terminal.ended(), Some(101));
    terminal.see(&["on purpose"]);
}
