//! The drill's second step: the sessions, after the change.

use evenkeel::wire::AiScope;

use super::Check;
use super::counters::Counters;
use super::judge::{self, Access};
use super::report::{Report, Verdict, progress};
use super::sessions;
use super::state::{Checked, Key, State};
use crate::cli::Service;
use crate::connect;
use crate::exit::Failed;
use crate::handshake::State as Is;
use crate::status_line::wall_ms;

pub(super) async fn run(service: &Service, args: &Check) -> Result<Report, Failed> {
    let file = &args.common.file;
    let (probe, edge) = connect::probe_of_edge(service)?;
    let mut state = State::read_begun(file, &edge)?;
    if state.finished_at_ms.is_some() {
        return Err(Failed::configuration(format!(
            "--state {}: this drill is finished, and its sessions are closed; begin the next one with --force",
            file.display()
        )));
    }
    let chosen = chosen(&state);
    let mut clients = Vec::new();
    let mut were = Vec::new();
    for &index in &chosen {
        let session = &mut state.sessions[index];
        clients.push((session.scope.clone(), session.client(service)?));
        were.push(session.key);
        // Whatever stops this run: from here on it may have moved, and nobody have seen it.
        if session.key == Key::Old {
            session.key = Key::Unsure;
        }
    }
    state.write(file)?;

    let mut told = vec![Counters::told(probe.metrics().await)];
    let mut accesses: Vec<Access> = Vec::new();
    for round in 0..ROUNDS_MAX {
        for ((scope, client), was) in clients.iter().zip(&were) {
            let words = format!("round {}: {}", round + 1, sessions::id(scope));
            progress(args.common.format, &words)?;
            let called = sessions::call(client).await;
            told.push(Counters::told(probe.metrics().await));
            accesses.push(Access {
                scope: scope.clone(),
                round,
                was: *was,
                called,
            });
        }
        let all_work = accesses
            .iter()
            .all(|access| access.called.state == Is::Pass);
        // Somebody else's call may be what a second look met; a later one meets it no more.
        if !all_work || (round > 0 && !judge::somebody_fell_back(&told, clients.len())) {
            break;
        }
    }
    let found = judge::check(&state.counters, &told, &accesses);
    for (&index, key) in chosen.iter().zip(&found.keys) {
        state.sessions[index].key = *key;
    }
    let report = Report::of(found.criteria);
    let (at_ms, verdict) = (wall_ms(), report.verdict());
    state.last_check = Some(Checked { at_ms, verdict });
    if verdict == Verdict::Passed {
        state.first_pass_ms.get_or_insert(at_ms);
    }
    state.write(file)?;
    let again = format!(
        "recovery-check drill rotation check --state {}",
        file.display()
    );
    Ok(match verdict {
        Verdict::Passed => report.next(format!(
            "recovery-check drill rotation finish --state {}",
            file.display()
        )),
        Verdict::Failed => report
            .next("Keep the overlap. If nothing was changed yet: change the secret, with the overlap first.")
            .next("If sessions do not open: put the secret from before into KEY_ENCRYPTION_SECRET_PREV, and deploy.")
            .next(again),
        Verdict::Unknown if evidence_left(&state) => report.next("Keep the overlap.").next(again),
        Verdict::Unknown => report
            .next("Keep the overlap. No session is left that could show the change: it cannot be seen any more.")
            .next("Change the secret once more, with a drill from its begin: begin --force."),
    })
}

/// The account's session, those of devices that were used before, and a new one unless one was seen to move:
/// the rest are kept for a check that sees more.
fn chosen(state: &State) -> Vec<usize> {
    let device = |scope: &AiScope| *scope != AiScope::Account;
    let mut wanted = !state
        .sessions
        .iter()
        .any(|session| device(&session.scope) && session.key == Key::Moved);
    let mut chosen = Vec::new();
    for (index, session) in state.sessions.iter().enumerate() {
        let spare = device(&session.scope) && session.key == Key::Old;
        if !spare || wanted {
            chosen.push(index);
        }
        wanted &= !spare;
    }
    chosen
}

/// Whether another check can see more than this one.
fn evidence_left(state: &State) -> bool {
    let devices = |session: &&super::state::Session| session.scope != AiScope::Account;
    let mut devices = state.sessions.iter().filter(devices);
    devices.any(|session| session.key != Key::Unsure)
}

const ROUNDS_MAX: usize = 4;
