//! The drill's last step: whether the overlap may go.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use evenkeel::wire::AiScope;

use super::counters::Counters;
use super::judge;
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
    let mut state = State::read_begun(file, &edge)?;
    if let Some(at) = state.finished_at_ms {
        // Whatever stopped the run that finished it, before it had closed them.
        let left = sessions::close(service, &state).await?;
        let words = format!("the overlap was found not to be needed at {}", date(at));
        let report = Report::of(vec![Criterion::new("finished", Is::Pass, words)]);
        return Ok(ended(report, file).and(left));
    }
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
    if let Some(outlived) = outlived(service, &state).await? {
        let report = Report::of(vec![checked, outlived]);
        return Ok(report
            .next("Keep the overlap.")
            .next("Set this machine's clock, and finish again."));
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
            state.finished_at_ms = Some(wall_ms());
            state.write(file)?;
            let left = sessions::close(service, &state).await?;
            ended(report, file).and(left)
        }
        Verdict::Failed => report.next("Keep the overlap."),
        Verdict::Unknown => report.next("Keep the overlap.").next(
            "If accounts that have not used their key since may have to connect again: --allow-unknown accounts.",
        ),
    })
}

fn ended(report: Report, file: &Path) -> Report {
    report
        .commands(&[judge::END_OVERLAP])
        .next("Confirm that decryptFailures stands still: recovery-check triage.")
        .next(format!(
            "Delete {}; the drill's sessions are closed.",
            file.display()
        ))
}

fn checked(state: &State) -> Criterion {
    let (is, words) = match state.last_check.as_ref().map(|last| last.verdict) {
        None => (
            Is::Unknown,
            "no check was made: a rotation that nobody saw is not called good",
        ),
        Some(Verdict::Passed) => (Is::Pass, "the last check passed"),
        Some(Verdict::Failed) => (Is::Fail, "the last check failed"),
        Some(Verdict::Unknown) => (Is::Unknown, "the last check could not tell"),
    };
    Criterion::new("checked", is, words)
}

/// Whatever a device opened under the old secret was opened before the first check that passed.
fn lifetime(state: &State) -> (Criterion, Option<u64>) {
    let lives = state
        .sessions
        .iter()
        .filter(|session| session.scope != AiScope::Account)
        .filter_map(|session| session.lives_ms);
    let (Some(lives), Some(changed)) = (lives.max(), state.first_pass_ms) else {
        let words = "the service did not say how long a device's session lives";
        return (Criterion::new("lifetime", Is::Unknown, words), None);
    };
    let until = changed.saturating_add(lives);
    let left = until.saturating_sub(wall_ms());
    let date = date(until);
    if left == 0 {
        let words = format!("device sessions from before the change had ended by {date}");
        return (Criterion::new("lifetime", Is::Pass, words), None);
    }
    let left = humantime::format_duration(Duration::from_secs(left.div_ceil(1000)));
    let words =
        format!("device sessions from before the change may live until {date}: wait {left}");
    (Criterion::new("lifetime", Is::Fail, words), Some(until))
}

/// A session of a device that `begin` opened, and that the service still has: it would be gone if the time
/// were over. To ask uses no key.
async fn outlived(service: &Service, state: &State) -> Result<Option<Criterion>, Failed> {
    for session in state
        .sessions
        .iter()
        .filter(|s| s.scope != AiScope::Account)
    {
        let there = session.client(service)?.session().await;
        if there.is_ok_and(|there| there.connected) {
            let words = "by this machine's clock device sessions from before the change have ended, but the \
                         service still has one that begin opened: the clock is ahead";
            return Ok(Some(Criterion::new("lifetime", Is::Fail, words)));
        }
    }
    Ok(None)
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

fn date(at_ms: u64) -> String {
    match UNIX_EPOCH.checked_add(Duration::from_millis(at_ms)) {
        // What humantime can write as a date ends with the year 9999.
        Some(at) if at_ms < YEAR_10000_MS => humantime::format_rfc3339_seconds(at).to_string(),
        _ => "the end of time".to_owned(),
    }
}

const YEAR_10000_MS: u64 = 253_402_300_800_000;
