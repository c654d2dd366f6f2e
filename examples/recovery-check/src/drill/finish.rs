//! The drill's last step: whether the overlap may go.

use std::time::{Duration, UNIX_EPOCH};

use evenkeel::wire::AiScope;

use super::judge::{self, Counters};
use super::report::{Criterion, Report, Verdict, progress};
use super::sessions;
use super::state::State;
use super::{Finish, Unknowable};
use crate::cli::Service;
use crate::connect;
use crate::exit::Failed;
use crate::handshake::State as Is;
use crate::status_line::wall_ms;

pub(super) async fn run(service: &Service, args: &Finish) -> Result<Report, Failed> {
    let file = &args.common.file;
    let (probe, edge) = connect::probe_of_edge(service)?;
    let mut state = State::read(file, &edge)?;
    let checked = checked(&state);
    if checked.state != Is::Pass {
        let next = format!(
            "recovery-check drill rotation check --state {}",
            file.display()
        );
        return Ok(Report::of(vec![checked]).next(next));
    }
    let (lifetime, until) = lifetime(&state);
    if lifetime.state != Is::Pass {
        let report = Report::of(vec![checked, lifetime]).wait_until(until);
        return Ok(report.next("Keep the overlap until then."));
    }
    let before = Counters::told(probe.metrics().await);
    let account = match accounts(service, &state).await? {
        Some(failed) => failed,
        None => account_keys(&state, args),
    };
    let words = format!("watching for {}", humantime::format_duration(args.window));
    progress(args.common.format, &words)?;
    tokio::time::sleep(args.window).await;
    let fallback = judge::stands_still(&before, &Counters::told(probe.metrics().await));
    let report = Report::of(vec![checked, lifetime, fallback, account]);
    Ok(match report.verdict() {
        Verdict::Passed => {
            close(service, &state).await?;
            state.finished_at_ms = Some(wall_ms());
            state.write(file)?;
            report
                .commands(&[judge::END_OVERLAP])
                .next("Confirm that decryptFailures stands still: recovery-check triage.")
                .next(format!("Delete {}.", file.display()))
        }
        Verdict::Failed => report.next("Keep the overlap."),
        Verdict::Unknown => report.next("Keep the overlap.").next(
            "If accounts that have not used their key since may have to connect again: --allow-unknown accounts.",
        ),
    })
}

fn checked(state: &State) -> Criterion {
    let (is, words) = match &state.last_check {
        None => (
            Is::Unknown,
            "no check was made: a rotation that nobody saw is not called good",
        ),
        Some(last) if last.passed => (Is::Pass, "the last check passed"),
        Some(_) => (Is::Fail, "the last check did not pass"),
    };
    Criterion::new("checked", is, words)
}

/// Whatever a device opened under the old secret was opened before the first check that passed.
fn lifetime(state: &State) -> (Criterion, Option<u64>) {
    let lives = state
        .sessions
        .iter()
        .filter(|session| session.scope == AiScope::Device);
    let lives = lives.filter_map(|s| Some(s.expires_at_ms?.saturating_sub(state.begun_at_ms)));
    let (Some(lives), Some(changed)) = (lives.max(), state.first_pass_ms) else {
        let words = "the service did not say how long a device's session lives";
        return (Criterion::new("lifetime", Is::Unknown, words), None);
    };
    let until = changed.saturating_add(lives);
    let left = until.saturating_sub(wall_ms());
    let date = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(until));
    if left == 0 {
        let words = format!("device sessions from before the change had ended by {date}");
        return (Criterion::new("lifetime", Is::Pass, words), None);
    }
    let left = humantime::format_duration(Duration::from_secs(left.div_ceil(1000)));
    let words =
        format!("device sessions from before the change may live until {date}: wait {left}");
    (Criterion::new("lifetime", Is::Fail, words), Some(until))
}

/// The account's session once more, if it does not work.
async fn accounts(service: &Service, state: &State) -> Result<Option<Criterion>, Failed> {
    for session in state
        .sessions
        .iter()
        .filter(|s| s.scope == AiScope::Account)
    {
        let called = sessions::call(&session.client(service)?).await;
        if called.state != Is::Pass {
            let words = format!("the account's session: {}", called.words);
            return Ok(Some(Criterion::new("account_keys", called.state, words)));
        }
    }
    Ok(None)
}

fn account_keys(state: &State, args: &Finish) -> Criterion {
    let seen = state
        .sessions
        .iter()
        .any(|session| session.scope == AiScope::Account);
    let seen = match seen {
        true => "the drill's own account moved",
        false => "none was watched",
    };
    let unseen =
        "keys that nobody used since the change are under the old secret still, and cannot be seen";
    match args.allow_unknown.contains(&Unknowable::Accounts) {
        true => Criterion::new(
            "account_keys",
            Is::Pass,
            format!("{seen}; {unseen} (allowed)"),
        ),
        false => Criterion::new("account_keys", Is::Unknown, format!("{seen}; {unseen}")),
    }
}

/// Ends what the drill opened and what has not ended by itself.
async fn close(service: &Service, state: &State) -> Result<(), Failed> {
    for session in state.sessions.iter().filter(|session| session.ours) {
        if session.expires_at_ms.is_none_or(|at| at > wall_ms()) {
            // It is of no use to anybody; a device's ends by itself.
            let _ = session.client(service)?.disconnect().await;
        }
    }
    Ok(())
}
