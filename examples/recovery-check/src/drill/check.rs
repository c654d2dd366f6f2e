//! The drill's second step: the sessions, after the change.

use super::Check;
use super::judge::{self, Counters, Round};
use super::report::{Report, Verdict, progress};
use super::sessions;
use super::state::{Checked, State};
use crate::cli::Service;
use crate::connect;
use crate::exit::Failed;
use crate::handshake::State as Is;
use crate::status_line::wall_ms;

pub(super) async fn run(service: &Service, args: &Check) -> Result<Report, Failed> {
    let file = &args.common.file;
    let (probe, edge) = connect::probe_of_edge(service)?;
    let mut state = State::read(file, &edge)?;
    let mut clients = Vec::new();
    for session in &state.sessions {
        clients.push((judge::session_id(&session.scope), session.client(service)?));
    }
    let mut told = vec![Counters::told(probe.metrics().await)];
    let mut rounds: Vec<Round> = Vec::new();
    while rounds.len() < ROUNDS_MAX {
        let mut round = Vec::new();
        for (id, client) in &clients {
            progress(
                args.common.format,
                &format!("round {}: {id}", rounds.len() + 1),
            )?;
            round.push((*id, sessions::call(client).await));
        }
        rounds.push(round);
        told.push(Counters::told(probe.metrics().await));
        let all_work = rounds
            .iter()
            .flatten()
            .all(|(_, called)| called.state == Is::Pass);
        // Somebody else's call may be what a second look met; a later one meets it no more.
        if !all_work || (rounds.len() >= 2 && !judge::somebody_fell_back(&told)) {
            break;
        }
    }
    let under_old = state.sessions.iter().filter(|session| !session.moved);
    let criteria = judge::check(under_old.count() as u64, &told, &rounds);
    let report = Report::of(criteria);
    let passed = report.verdict() == Verdict::Passed;
    let at_ms = wall_ms();
    for (session, (_, client)) in state.sessions.iter_mut().zip(&clients) {
        session.moved |= passed;
        session.cookie = client.device_session().or(session.cookie.take());
    }
    state.last_check = Some(Checked { at_ms, passed });
    if passed {
        state.first_pass_ms.get_or_insert(at_ms);
    }
    state.write(file)?;
    let file = file.display();
    Ok(match report.verdict() {
        Verdict::Passed => report.next(format!("recovery-check drill rotation finish --state {file}")),
        Verdict::Failed => report
            .next("Keep the overlap. If nothing was changed yet: change the secret, with the overlap first.")
            .next("If sessions do not open: put the secret from before into KEY_ENCRYPTION_SECRET_PREV, and deploy.")
            .next(format!("recovery-check drill rotation check --state {file}")),
        Verdict::Unknown => report
            .next("Keep the overlap.")
            .next(format!("recovery-check drill rotation check --state {file}")),
    })
}

const ROUNDS_MAX: usize = 4;
