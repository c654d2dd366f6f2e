//! The drill's first step.

use std::fs::File;
use std::io::Read as _;

use evenkeel::wire::AiScope;
use evenkeel::{AiClient, Secret};

use super::Begin;
use super::judge::{self, Counters};
use super::report::{Criterion, Report, Verdict, progress};
use super::sessions;
use super::state::{Session, State};
use crate::cli::Service;
use crate::connect;
use crate::exit::Failed;
use crate::handshake;
use crate::status_line::wall_ms;

pub(super) async fn run(service: &Service, args: &Begin) -> Result<Report, Failed> {
    let file = &args.common.file;
    if file.exists() && !args.force {
        return Err(Failed::configuration(format!(
            "--state {}: there is a drill in it; give another file, or --force to forget that one",
            file.display()
        )));
    }
    let (probe, edge) = connect::probe_of_edge(service)?;
    let key = key(args)?;
    let counters = Counters::told(probe.metrics().await);
    let counters = match counters {
        Ok(counters) => counters,
        // Nothing was opened: what cannot be seen is not begun.
        Err(why) => return Ok(Report::of(vec![judge::not_told(&why)]).next(judge::ON_THE_EDGE)),
    };
    let mut clients = vec![(connect::ai_of_device(service)?, AiScope::Device)];
    if probe.token.is_some() {
        clients.push((connect::ai_of_account(service)?, AiScope::Account));
    }
    let mut criteria = vec![Criterion::new(
        "counters",
        handshake::State::Pass,
        counters.words(),
    )];
    let begun_at_ms = wall_ms();
    let mut opened: Vec<(AiClient, Session)> = Vec::new();
    for (client, scope) in clients {
        let id = judge::session_id(&scope);
        progress(args.common.format, &format!("opening a session: {id}"))?;
        match sessions::open(&client, scope, args.provider.on_the_wire(), &key).await {
            Ok(session) => {
                let called = sessions::call(&client).await;
                let whose = if session.ours {
                    "opened"
                } else {
                    "was there already"
                };
                let words = format!("{whose}, {}", called.words);
                criteria.push(Criterion::new(id, called.state, words));
                opened.push((client, session));
            }
            Err(error) => {
                let words = format!(
                    "cannot be opened: {}",
                    crate::probe::shown(&error.to_string())
                );
                criteria.push(Criterion::new(id, handshake::State::Unknown, words));
            }
        }
    }
    if probe.token.is_none() {
        criteria.push(Criterion::new(
            "account",
            handshake::State::Pass,
            "left out: no token was given, so no account's key is watched",
        ));
    }
    let report = Report::of(criteria);
    if report.verdict() != Verdict::Passed {
        for (client, session) in opened {
            if session.ours {
                // Its lifetime ends it otherwise.
                let _ = client.disconnect().await;
            }
        }
        return Ok(report.next(
            "Sessions have to work before the secret is changed: mend this, then begin again. Nothing was kept.",
        ));
    }
    let sessions = opened.into_iter().map(|(_, session)| session).collect();
    State::new(edge, begun_at_ms, sessions).write(file)?;
    let check = format!(
        "recovery-check drill rotation check --state {}",
        file.display()
    );
    Ok(report
        .commands(&judge::CHANGE)
        .next("(The first asks for a value: the secret that is active now. The second makes a new one.)")
        .next(check))
}

/// The provider's key; never from an argument, which everybody on the machine can read.
fn key(args: &Begin) -> Result<Secret, Failed> {
    let mut text = String::new();
    match &args.key_file {
        Some(path) => {
            let reading =
                File::open(path).and_then(|f| f.take(KEY_BYTES_MAX).read_to_string(&mut text));
            reading.map_err(|e| {
                Failed::configuration(format!("--key-file {}: {e}", path.display()))
            })?;
        }
        None => text = std::env::var("EVENKEEL_AI_KEY").unwrap_or_default(),
    }
    let key = text.trim();
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Failed::configuration(
            "with which key? Set EVENKEEL_AI_KEY or give --key-file FILE: the AI provider's key, one word of ASCII",
        ));
    }
    Ok(Secret::new(key))
}

const KEY_BYTES_MAX: u64 = 16 << 10;
