//! `watch --tui` on a real terminal, against a real service.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/pty.rs"]
mod pty;

use common::{command, control, run, stack, stderr, url};
use pty::Pty;
use rustix::process::Signal;

fn watch(urls: &[(String, String)]) -> std::process::Command {
    let mut command = command(&["watch", "--tui", "--interval", "200ms"]);
    command
        .args(["--edge", url(urls, "edge"), "--origin", url(urls, "origin")])
        .env("EVENKEEL_TOKEN", "demo-token")
        // Whatever is logged must not be written into the picture.
        .env("RUST_LOG", "debug")
        .env_remove("NO_COLOR");
    command
}

#[test]
fn an_outage_comes_and_goes_on_the_screen() {
    let (_stack, urls) = stack(&["--set", "circuit_open_ms=1000"]);
    let mut terminal = Pty::start(watch(&urls));
    terminal.see(&[" synced ", "healthy", "circuit closed", "q quit"]);
    let fault = "/faults/origin_refuses";
    control(url(&urls, "control"), "PUT", fault, "true");
    terminal.see(&[" degraded ", "network_error", "no answer: TCP"]);
    terminal.see(&["next in"]);
    terminal.see(&["circuit open", "upstream network_error", "█"]);
    terminal.resize(40, 10);
    terminal.see(&["degraded", "/ready  no answer", "q quit"]);
    terminal.resize(80, 24);
    control(url(&urls, "control"), "DELETE", fault, "");
    let screen = terminal.see(&[" synced ", "healthy", "circuit closed"]);
    assert!(screen.contains("degraded: "), "the log keeps it:\n{screen}");
    control(url(&urls, "control"), "POST", "/edge/restart", "");
    terminal.see(&["the edge was restarted"]);
    terminal.press("x?");
    terminal.press("q");
    assert_eq!(terminal.ended(), Some(0));
    let raw = String::from_utf8_lossy(&terminal.raw).into_owned();
    assert!(raw.contains("38;5;2"), "it has colours");
    assert!(!raw.contains("DEBUG") && !raw.contains("demo-token"));
}

#[test]
fn control_c_signals_and_the_end_of_the_time_give_the_terminal_back() {
    let (_stack, urls) = stack(&[]);
    let signals = [Signal::TERM, Signal::HUP, Signal::INT].map(Some);
    for end in [&[None], &signals[..]].concat() {
        let mut command = watch(&urls);
        command.env("NO_COLOR", "1");
        let mut terminal = Pty::start(command);
        terminal.see(&[" synced ", "healthy"]);
        match end {
            Some(signal) => terminal.send(signal),
            None => terminal.press("\x03"),
        }
        assert_eq!(terminal.ended(), Some(0), "{end:?}");
        let raw = String::from_utf8_lossy(&terminal.raw).into_owned();
        assert!(!raw.contains("38;5;"), "no colours");
    }
    let mut command = watch(&urls);
    command.args(["--for", "1s"]);
    assert_eq!(Pty::start(command).ended(), Some(0));
}

#[test]
fn a_service_that_is_not_there_is_unknown_and_not_fine() {
    let mut command = command(&["watch", "--tui", "--interval", "200ms"]);
    command
        .args(["--edge", "http://127.0.0.1:1"])
        .env("EVENKEEL_TOKEN", "demo-token");
    let mut terminal = Pty::start(command);
    let screen = terminal.see(&[" degraded ", "connect_failed", "circuit unknown"]);
    assert!(
        !screen.contains("healthy") && !screen.contains("closed"),
        "{screen}"
    );
    terminal.see(&["unknown: no --origin"]);
    terminal.press("q");
    assert_eq!(terminal.ended(), Some(0));
}

#[test]
fn without_a_terminal_it_says_what_to_do() {
    let output = run(&["watch", "--tui", "--edge", "http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let said = stderr(&output);
    assert!(
        said.contains("needs a terminal") && said.contains("jsonl"),
        "{said}"
    );
    let mut dumb = command(&["watch", "--tui", "--edge", "http://127.0.0.1:1"]);
    dumb.env("TERM", "dumb");
    assert_eq!(dumb.output().unwrap().status.code(), Some(2));
    for wrong in [&["--format", "jsonl"][..], &["--interval", "1ms"]] {
        let args = [&["watch", "--tui", "--edge", "http://127.0.0.1:1"], wrong].concat();
        assert_eq!(run(&args).status.code(), Some(2), "{wrong:?}");
    }
    let output = run(&["watch", "--interval", "1s", "--edge", "http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(2), "only with --tui");
}
