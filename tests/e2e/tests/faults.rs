//! Each fault of the reference service as its client sees it: the cause it tells, and that it comes
//! back by itself with everything written meanwhile. Windows are shortened; all cases run side by side.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use evenkeel::{Ask, Cause, Link, MemoryReplica, Secret, SyncClient, SyncState, Timeouts};
use evenkeel_e2e::{Diary, reach};
use evenkeel_stack::{Cut, Faults, Stack};
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep};

/// What one case switches on, and what its client has to say about it.
struct Case {
    faults: &'static [(&'static str, &'static str)],
    settings: &'static [(&'static str, &'static str)],
    cause: Cause,
    /// How news has to come while the fault lasts, where it still does.
    link: Option<Link>,
}

const fn case(name: &'static [(&'static str, &'static str)], cause: Cause) -> Case {
    Case {
        faults: name,
        settings: &[],
        cause,
        link: None,
    }
}

const CASES: &[Case] = &[
    case(&[("edge_refuses", "true")], Cause::ConnectFailed),
    case(
        &[("cdn_error", r#"{"status":502,"body":"html"}"#)],
        Cause::ServerError,
    ),
    case(
        &[("cdn_error", r#"{"status":525,"body":"empty"}"#)],
        Cause::ServerError,
    ),
    case(
        &[("edge_unconfigured", r#""service_unavailable""#)],
        Cause::OriginUnconfigured,
    ),
    case(
        &[("edge_unconfigured", r#""config_error""#)],
        Cause::OriginUnconfigured,
    ),
    case(&[("edge_kv_down", "true")], Cause::KvUnavailable),
    case(&[("edge_times_out", "true")], Cause::Timeout),
    case(&[("edge_path_down", "true")], Cause::NetworkError),
    case(&[("circuit_forced_open", "true")], Cause::CircuitOpen),
    case(&[("origin_refuses", "true")], Cause::NetworkError),
    case(
        &[("origin_refuses", "true"), ("retry_after_as_date", "true")],
        Cause::NetworkError,
    ),
    case(
        &[
            ("origin_refuses", "true"),
            ("retry_after_as_date", "true"),
            ("clock_skew_s", "-36000"),
        ],
        Cause::NetworkError,
    ),
    case(&[("origin_hangs", "true")], Cause::Timeout),
    case(&[("origin_resets", "true")], Cause::NetworkError),
    case(
        &[("origin_errors", r#"{"rate":1.0,"status":500}"#)],
        Cause::Upstream5xx,
    ),
    case(&[("database_down", r#""all""#)], Cause::Upstream5xx),
    Case {
        link: Some(Link::Polling),
        ..case(&[("redis_down", "true")], Cause::Upstream5xx)
    },
    Case {
        link: Some(Link::Polling),
        ..case(&[("replay_store_down", "true")], Cause::Upstream5xx)
    },
    Case {
        link: Some(Link::Polling),
        ..case(&[("stream_headers_never", "true")], Cause::Timeout)
    },
    Case {
        link: Some(Link::Polling),
        ..case(&[("stream_silent", "true")], Cause::StreamStalled)
    },
    case(&[("stream_no_heartbeats", "true")], Cause::StreamStalled),
    Case {
        link: Some(Link::Polling),
        ..case(
            &[("stream_flaps", r#"{"after_ms":50,"how":"clean"}"#)],
            Cause::StreamClosed,
        )
    },
    Case {
        link: Some(Link::Polling),
        ..case(
            &[("stream_flaps", r#"{"after_ms":50,"how":"reset"}"#)],
            Cause::ConnectionLost,
        )
    },
    case(
        &[("rate_limited", r#"{"retry_after_s":2}"#)],
        Cause::RateLimited,
    ),
    Case {
        // A 500 at the origin, a 503 at the edge: the headers give it away.
        settings: &[("rate_limit_form", "internal_error")],
        ..case(
            &[("rate_limited", r#"{"retry_after_s":2}"#)],
            Cause::RateLimited,
        )
    },
];

struct Setup {
    stack: Stack,
    client: SyncClient,
    replica: MemoryReplica,
    diary: Diary,
}

async fn setup(settings: &[(&str, &str)]) -> Setup {
    let mut builder = Stack::builder();
    let short = [
        ("circuit_open_ms", "1000"),
        ("proxy_timeout_ms", "400"),
        ("heartbeat_ms", "500"),
    ];
    for (name, value) in short.iter().chain(settings) {
        builder = builder.set(name, value).unwrap();
    }
    let stack = builder.start().await.unwrap();
    let mut timeouts = Timeouts::default();
    timeouts.ready = Duration::from_secs(1);
    timeouts.silence_min = Duration::from_secs(2);
    timeouts.poll_every = Duration::from_secs(2);
    let replica = MemoryReplica::new();
    let client = SyncClient::builder(stack.edge_url())
        .token(Secret::new("demo-token"))
        .replica(replica.clone())
        .timeouts(timeouts)
        .build()
        .unwrap();
    let diary = Diary::of(&client);
    client.start().unwrap();
    reach(&client, "synced at first", Duration::from_secs(20), |s| {
        s.state == SyncState::Synced
    })
    .await;
    // By then it knows how often to expect a sign of life.
    let end = Instant::now() + Duration::from_secs(10);
    while client.diagnostics().stream_events.heartbeat < 3 {
        assert!(Instant::now() < end, "no heartbeats");
        sleep(Duration::from_millis(50)).await;
    }
    Setup {
        stack,
        client,
        replica,
        diary,
    }
}

fn switch(faults: &Faults, on: &[(&str, &str)]) {
    for (name, value) in on {
        faults
            .set(name, serde_json::from_str(value).unwrap())
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_is_told_by_its_cause_and_survived() {
    let cases: Vec<_> = CASES
        .iter()
        .map(|case| tokio::spawn(ride_out(case)))
        .collect();
    for (case, done) in CASES.iter().zip(cases) {
        if let Err(error) = done.await {
            panic!("{:?}: {error}", case.faults);
        }
    }
}

async fn ride_out(case: &Case) {
    let Setup {
        stack,
        client,
        replica,
        diary,
    } = setup(case.settings).await;
    let name = format!("{:?}", case.faults);
    switch(&stack.faults(), case.faults);
    if !case
        .faults
        .iter()
        .any(|(name, _)| *name == "stream_no_heartbeats")
    {
        stack.faults().cut_streams(Cut::Clean);
    }
    replica.put("written-meanwhile", fields("ours")).unwrap();
    reach(&client, &name, Duration::from_secs(30), |s| {
        s.state == SyncState::Degraded && s.cause == Some(case.cause)
    })
    .await;
    if let Some(link) = case.link {
        reach(&client, &name, Duration::from_secs(30), |s| s.link == link).await;
    }

    stack.faults().reset();
    let theirs = stack
        .origin()
        .write_note("demo", "from-elsewhere", "theirs");
    theirs.await.unwrap();
    reach(
        &client,
        &format!("{name} healed"),
        Duration::from_secs(45),
        |s| s.state == SyncState::Synced && s.link == Link::Stream && s.pending == 0,
    )
    .await;
    // Synced means: what was there before is here.
    assert!(replica.get("from-elsewhere").is_some(), "{name}");
    let ours = replica.get("written-meanwhile").unwrap();
    assert!(ours.version.0 > 0, "{name}: not on the server");
    for (_, status) in diary.pages() {
        assert_eq!(
            status.cause.is_some(),
            status.state == SyncState::Degraded,
            "{name}: {status:?}"
        );
        assert_eq!(status.ask, Ask::None, "{name}");
    }
    client.stop().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_ten_hours_off_changes_nothing() {
    for skew in ["-36000", "36000"] {
        let setup = setup(&[]).await;
        switch(&setup.stack.faults(), &[("clock_skew_s", skew)]);
        let said = setup.diary.pages().len();
        // Long enough that the cut is a proper close after a life.
        sleep(Duration::from_millis(10_500)).await;
        setup.stack.faults().cut_streams(Cut::Clean);
        let theirs = setup.stack.origin().write_note("demo", "after", "x");
        let cursor = theirs.await.unwrap();
        reach(&setup.client, "caught up", Duration::from_secs(5), |s| {
            s.state == SyncState::Synced && s.cursor == Some(cursor)
        })
        .await;
        for (_, status) in &setup.diary.pages()[said..] {
            assert_ne!(status.state, SyncState::Degraded, "{status:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_token_asks_for_a_sign_in_and_a_new_one_ends_it() {
    let setup = setup(&[("tokens", "demo-token,second-token")]).await;
    switch(&setup.stack.faults(), &[("tokens_expired", r#""all""#)]);
    setup.client.sync_now();
    reach(&setup.client, "sign in", Duration::from_secs(5), |s| {
        s.ask == Ask::SignIn && s.cause == Some(Cause::AuthRequired)
    })
    .await;
    setup.stack.faults().reset();
    setup.client.set_token_changed();
    reach(&setup.client, "synced", Duration::from_secs(5), |s| {
        s.state == SyncState::Synced
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_device_stops_until_it_is_started_again() {
    let setup = setup(&[]).await;
    switch(&setup.stack.faults(), &[("devices_revoked", r#""all""#)]);
    setup.client.sync_now();
    reach(&setup.client, "revoked", Duration::from_secs(5), |s| {
        s.ask == Ask::DeviceRevoked && s.link == Link::None
    })
    .await;
    let sent = setup.stack.requests().all().len();
    setup.client.retry_now();
    sleep(Duration::from_secs(2)).await;
    assert_eq!(
        setup.stack.requests().all().len(),
        sent,
        "it went on sending"
    );
    setup.stack.faults().reset();
    setup.client.stop().await;
    setup.client.start().unwrap();
    reach(&setup.client, "synced", Duration::from_secs(5), |s| {
        s.state == SyncState::Synced
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn announcements_that_come_twice_late_or_in_disorder_lose_nothing() {
    for faults in [
        &[("announcements_duplicated", "true")][..],
        &[("announcements_reordered", "true")],
        &[("late_commits", r#"{"delay_ms":300,"every":2}"#)],
        &[("push_answers_lost", "2")],
        &[("operations_skipped", "1")],
        &[("push_breaks_after", "3")],
    ] {
        let setup = setup(&[]).await;
        let other = MemoryReplica::new();
        let second = SyncClient::builder(setup.stack.edge_url())
            .token(Secret::new("demo-token"))
            .replica(other.clone())
            .build()
            .unwrap();
        second.start().unwrap();
        reach(&second, "synced", Duration::from_secs(5), |s| {
            s.state == SyncState::Synced
        })
        .await;
        switch(&setup.stack.faults(), faults);
        for n in 0..20 {
            let writer = if n % 2 == 0 { &setup.replica } else { &other };
            writer.put(&format!("note-{n}"), fields("x")).unwrap();
            tokio::task::yield_now().await;
        }
        if faults[0].0 == "push_breaks_after" {
            reach(&second, "broken", Duration::from_secs(10), |s| {
                s.cause.is_some()
            })
            .await;
            setup.stack.faults().reset();
        }
        let end = Instant::now() + Duration::from_secs(45);
        let whole = |replica: &MemoryReplica| {
            let notes = replica.list();
            notes.len() == 20 && notes.iter().all(|note| note.version.0 > 0)
        };
        while !(whole(&setup.replica) && whole(&other)) {
            assert!(
                Instant::now() < end,
                "{faults:?}: {} and {} notes: {:?} {:?}",
                setup.replica.len(),
                other.len(),
                setup.client.status(),
                second.status()
            );
            sleep(Duration::from_millis(50)).await;
        }
    }
}

fn fields(content: &str) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("content".into(), content.into());
    fields
}
