//! The drill's first step.

use std::fs::File;
use std::io;

use evenkeel::wire::AiScope;
use evenkeel::{AiClient, Secret};

use super::Begin;
use super::counters::Counters;
use super::judge;
use super::report::{Criterion, Report, Verdict, progress};
use super::sessions;
use super::state::State;
use crate::cli::Service;
use crate::connect;
use crate::exit::Failed;
use crate::handshake::State as Is;
use crate::probe::shown;
use crate::status_line::wall_ms;

pub(super) async fn run(service: &Service, args: &Begin) -> Result<Report, Failed> {
    let file = &args.common.file;
    if file.exists() && !args.force {
        return Err(Failed::configuration(format!(
            "--state {}: there is a drill in it; give another file, or --force to end that one",
            file.display()
        )));
    }
    let (probe, edge) = connect::probe_of_edge(service)?;
    let Some(key) = key(args)? else {
        let why = "there is no provider's key, so no session can be opened and nothing be seen";
        let report = Report::of(vec![Criterion::new("key", Is::Unknown, why)]);
        return Ok(report.next("Set EVENKEEL_AI_KEY, or give --key-file FILE (- for standard input). Nothing was opened."));
    };
    let counters = match Counters::told(probe.metrics().await) {
        Ok(counters) => counters,
        // Nothing was opened: what cannot be seen is not begun.
        Err(why) => return Ok(Report::of(vec![judge::not_told(&why)]).next(judge::ON_THE_EDGE)),
    };
    let mut left = Vec::new();
    if file.exists() {
        // One that cannot be read has nothing that could be closed.
        if let Ok(old) = State::read(file, &edge) {
            left = sessions::close(service, &old).await?;
        }
    }
    let mut state = State::new(edge, wall_ms(), counters.metrics().clone());
    // Before anything is opened, and with each session again: whatever stops this run, `--force` can tidy up.
    state.write(file)?;
    let mut criteria = vec![Criterion::new("counters", Is::Pass, counters.words())];
    criteria.push(open_devices(service, args, &key, &mut state).await?);
    criteria.push(match probe.token.is_some() {
        true => open_account(service, args, &key, &mut state).await?,
        false => Criterion::new(
            "account",
            Is::Pass,
            "left out: no token was given, so no account's key is watched",
        ),
    });
    let report = Report::of(criteria).and(left);
    if report.verdict() != Verdict::Passed {
        let left = sessions::close(service, &state).await?;
        if left.is_empty() {
            // The file holds nothing then; who cannot delete it is told by the next `begin`.
            let _ = std::fs::remove_file(file);
        }
        let next = "Sessions have to work before the secret is changed: mend this, then begin again. Nothing was kept.";
        return Ok(report.and(left).next(next));
    }
    state.ready = true;
    state.write(file)?;
    let report = match counters.fallbacks() > 0 {
        true => report.next(
            "(Others fall back already: an overlap from before is in force. Their calls may make a check unknown.)",
        ),
        false => report,
    };
    let file = file.display();
    Ok(report
        .commands(&judge::CHANGE)
        .next("(The first asks for a value: the secret that is active now. The second makes a new one.)")
        .next(format!("recovery-check drill rotation check --state {file}")))
}

async fn open_devices(
    service: &Service,
    args: &Begin,
    key: &Secret,
    state: &mut State,
) -> Result<Criterion, Failed> {
    let mut calls = 0;
    for n in 1..=DEVICES {
        let words = format!("opening a device's session ({n} of {DEVICES})");
        progress(args.common.format, &words)?;
        let client = connect::ai_of_device(service)?;
        let (is, words) = open(&client, AiScope::Device, args, key, state).await?;
        if is != Is::Pass {
            return Ok(Criterion::new("device", is, words));
        }
        calls += 1;
    }
    let words = format!("{calls} opened, all work: one for a check, the others in reserve");
    Ok(Criterion::new("device", Is::Pass, words))
}

async fn open_account(
    service: &Service,
    args: &Begin,
    key: &Secret,
    state: &mut State,
) -> Result<Criterion, Failed> {
    progress(args.common.format, "opening the account's session")?;
    let client = connect::ai_of_account(service)?;
    let (is, words) = open(&client, AiScope::Account, args, key, state).await?;
    Ok(Criterion::new("account", is, words))
}

/// Opens a session, writes it down, and tries it.
async fn open(
    client: &AiClient,
    scope: AiScope,
    args: &Begin,
    key: &Secret,
    state: &mut State,
) -> Result<(Is, String), Failed> {
    let session = match sessions::open(client, scope, args.provider.on_the_wire(), key).await {
        Ok(session) => session,
        Err(error) => {
            let words = format!("cannot be opened: {}", shown(&error.to_string()));
            return Ok((Is::Unknown, words));
        }
    };
    let whose = match session.ours {
        true => "opened",
        false => "was there already",
    };
    state.sessions.push(session);
    if let Err(error) = state.write(&args.common.file) {
        // Nobody would know of it any more.
        let _ = client.disconnect().await;
        return Err(error);
    }
    let called = sessions::call(client).await;
    Ok((called.state, format!("{whose}, {}", called.words)))
}

/// The provider's key, if there is one; never from an argument, which everybody on the machine can read.
fn key(args: &Begin) -> Result<Option<Secret>, Failed> {
    let named = |what: &str| {
        let what = what.to_owned();
        move |why: String| {
            Failed::configuration(format!(
                "{what}: {why}; it is to hold the AI provider's key and nothing else"
            ))
        }
    };
    let key = match &args.key_file {
        Some(path) if path.as_os_str() == "-" => {
            connect::word_from(io::stdin().lock()).map_err(named("--key-file -"))
        }
        Some(path) => {
            let open = File::open(path).map_err(|e| e.to_string());
            let what = format!("--key-file {}", path.display());
            open.and_then(connect::word_from).map_err(named(&what))
        }
        None => match std::env::var_os("EVENKEEL_AI_KEY").filter(|key| !key.is_empty()) {
            Some(key) => {
                connect::word_from(key.as_encoded_bytes()).map_err(named("EVENKEEL_AI_KEY"))
            }
            None => return Ok(None),
        },
    };
    key.map(Some)
}

/// One is used up by a check that could not see what it did.
const DEVICES: usize = 3;
