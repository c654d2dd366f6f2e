//! The origin's process is killed and comes back, fifty times side by side, with every setting at its
//! default: what the client announced is what happens.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use evenkeel::{Cause, Secret, Status, SyncClient, SyncState};
use evenkeel_e2e::{Diary, StackProcess, reach};
use evenkeel_proto::policy::Class;
use evenkeel_proto::retry::backoff;
use evenkeel_stack::{EdgeOptions, Faults, RequestRecord, Requests, Settings, run_edge};
use tokio::time::sleep;

const OUTAGES: u64 = 50;
const SEED: u64 = 20_261_123;
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");

struct Outage {
    length: Duration,
    first_degraded: Duration,
    announced: Duration,
    actual: Duration,
    requests: usize,
    closest: Option<Duration>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_outages_of_random_length_end_as_announced() {
    let seed = std::env::var("EVENKEEL_SEED").map_or(SEED, |seed| seed.parse().unwrap());
    println!("EVENKEEL_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let outages: Vec<_> = (0..OUTAGES)
        .map(|n| {
            let length = Duration::from_millis(rng.u64(500..75_000));
            tokio::spawn(outage(n, length))
        })
        .collect();
    let mut done = Vec::new();
    for outage in outages {
        done.push(outage.await.unwrap());
    }
    done.sort_by_key(|outage| outage.length);
    let table = table(&done);
    println!("{table}");
    if std::env::var_os("EVENKEEL_WRITE").is_some() {
        let page = std::fs::read_to_string(PAGE).unwrap();
        let (head, _) = page.split_once(MARK).unwrap();
        std::fs::write(PAGE, format!("{head}{MARK}\n\n{table}")).unwrap();
    }
}

/// One origin process, one edge, one client; all checks of one outage.
async fn outage(n: u64, length: Duration) -> Outage {
    let records = tempfile::tempdir().unwrap();
    let data = records.path().display().to_string();
    let mut origin = StackProcess::start(&["--role", "origin", "--data", &data]).await;
    let requests = Requests::new(10_000);
    let edge = run_edge(EdgeOptions {
        port: 0,
        origin_urls: vec![origin.said("origin").to_owned()],
        settings: Settings::default(),
        faults: Faults::default(),
        requests: requests.clone(),
        ..EdgeOptions::default()
    });
    let edge = edge.await.unwrap();
    let client = SyncClient::builder(edge.url())
        .token(Secret::new("demo-token"))
        .seed(n)
        .build()
        .unwrap();
    let diary = Diary::of(&client);
    client.start().unwrap();
    reach(&client, "synced at first", Duration::from_secs(20), synced).await;

    // Both clocks read at one moment, so that the log's times can be compared with ours.
    let (killed, killed_ms) = (Instant::now(), requests.now_ms());
    origin.kill().await;
    sleep(length.saturating_sub(killed.elapsed())).await;
    origin.restart().await;
    let back = Instant::now();
    let down = back - killed;
    let (announced, before) = announced(&client).await;
    let actual = if synced(&before) {
        Duration::ZERO
    } else {
        let bound = announced + Duration::from_secs(2);
        let left = bound.saturating_sub(back.elapsed());
        reach(&client, &format!("outage {n} of {length:?}"), left, synced).await;
        back.elapsed()
    };

    let log: Vec<_> = requests
        .all()
        .into_iter()
        .filter(|record| record.at_ms >= killed_ms)
        .collect();
    let since_kill = |at_ms: u64| Duration::from_millis(at_ms - killed_ms);
    let first_degraded = degraded_with_the_edges_cause(&log, &diary, killed, since_kill);
    let closest = never_before_retry_after(&log);
    announced_by_the_rule(&diary);
    client.stop().await;
    edge.stop().await;
    Outage {
        length: down,
        first_degraded,
        announced,
        actual,
        requests: log
            .iter()
            .filter(|record| since_kill(record.at_ms) <= down)
            .count(),
        closest,
    }
}

fn synced(status: &Status) -> bool {
    status.state == SyncState::Synced
}

/// From now until the attempt that the status names; where one is under way, the next that it names.
async fn announced(client: &SyncClient) -> (Duration, Status) {
    let begun = Instant::now();
    let mut statuses = client.status_changes();
    loop {
        let status = statuses.next().await.unwrap();
        if synced(&status) {
            return (begun.elapsed(), status);
        }
        if let Some(wait) = status.next_attempt_in() {
            return (begun.elapsed() + wait, status);
        }
    }
}

/// `degraded` with the cause of the edge's first refusal, within a second of that answer.
fn degraded_with_the_edges_cause(
    log: &[RequestRecord],
    diary: &Diary,
    killed: Instant,
    since_kill: impl Fn(u64) -> Duration,
) -> Duration {
    let Some(refused) = log.iter().find(|record| record.cause.is_some()) else {
        // So short that the first request found the origin back.
        return Duration::ZERO;
    };
    let cause = Cause::from_name(refused.cause.unwrap()).unwrap();
    let answered = killed + since_kill(refused.answered_at_ms.unwrap());
    let told = diary
        .pages()
        .into_iter()
        .find(|(at, status)| *at >= killed && status.cause == Some(cause))
        .map(|(at, _)| at);
    let told = told.unwrap_or_else(|| panic!("{cause} was never told: {refused:?}"));
    let late = told.saturating_duration_since(answered);
    assert!(late <= Duration::from_secs(1), "{cause} told {late:?} late");
    late
}

/// The smallest distance between the end of a Retry-After and the next request.
fn never_before_retry_after(log: &[RequestRecord]) -> Option<Duration> {
    let mut closest = None;
    for (i, refused) in log.iter().enumerate() {
        let (Some(wait), Some(answered)) = (refused.retry_after_ms, refused.answered_at_ms) else {
            continue;
        };
        for next in log[i + 1..].iter().filter(|next| next.at_ms >= answered) {
            let spare = next.at_ms.checked_sub(answered + wait);
            let spare = spare.unwrap_or_else(|| panic!("{next:?} too early after {refused:?}"));
            let spare = Duration::from_millis(spare);
            closest = Some(closest.map_or(spare, |c: Duration| c.min(spare)));
        }
    }
    closest
}

/// Floor, backoff and spread as the design has them, for every wait that a server's floor led to.
fn announced_by_the_rule(diary: &Diary) {
    for (at, status) in diary.pages() {
        let cause = status.cause;
        if cause != Some(Cause::NetworkError) && cause != Some(Cause::CircuitOpen) {
            continue;
        }
        // Both are read as seen from now; what counts is their difference.
        let (Some(next), Some(floor)) = (status.next_attempt_in(), status.floor_from_server())
        else {
            continue;
        };
        let floor_length = Duration::from_secs(20);
        let least = backoff(Class::Backoff, status.attempt).max(floor_length) - floor_length;
        let spread = Duration::from_secs(1 << status.attempt.saturating_sub(1).min(10));
        let spread = spread.clamp(floor_length / 2, Duration::from_secs(20));
        let most = least + spread + Duration::from_millis(100);
        let beyond = next.saturating_sub(floor);
        assert!(
            next >= floor && beyond <= most,
            "{at:?}: {beyond:?} beyond the floor at attempt {}",
            status.attempt
        );
    }
}

fn table(outages: &[Outage]) -> String {
    let mut table = String::from(
        "| outage | degraded told after the edge's answer | next attempt announced for | synced after | \
         requests meanwhile | nearest to a Retry-After |\n|--:|--:|--:|--:|--:|--:|\n",
    );
    for outage in outages {
        let spare = outage
            .closest
            .map_or("none came".into(), |spare| format!("+{}", seconds(spare)));
        let _ = writeln!(
            table,
            "| {} | {} ms | {} | {} | {} | {spare} |",
            seconds(outage.length),
            outage.first_degraded.as_millis(),
            seconds(outage.announced),
            seconds(outage.actual),
            outage.requests,
        );
    }
    table
}

fn seconds(span: Duration) -> String {
    format!("{:.2} s", span.as_secs_f64())
}

const MARK: &str = "<!-- from here on written by the test -->";
