//! Anything in any order: no hang, no leak, no panic.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a panic is a test's verdict"
)]

mod common;

use std::time::Duration;

use common::{Reply, Service, client, eventually, stream, synced, until};
use evenkeel::{Lifecycle, Link, Network, StartError, SyncClient, SyncState};
use http_body_util::BodyExt as _;
use http_body_util::channel::Channel;
use serde_json::Map;
use tokio::runtime::Handle;

#[test]
fn everything_can_be_called_without_a_runtime() {
    let (client, notes) = client("http://127.0.0.1:1");
    assert_eq!(client.start(), Err(StartError::NoRuntime));
    client.sync_now();
    client.retry_now();
    client.resume();
    client.set_token_changed();
    client.set_network(Network::Down);
    client.set_foreground(false);
    notes.put("a", Map::new()).unwrap();
    assert_eq!(client.status().pending, 1);
    assert_eq!(client.status().lifecycle, Lifecycle::Stopped);
    block_on(client.stop());
    block_on(client.suspend(Duration::from_secs(1))).unwrap();
    assert!(block_on(client.sync_once(Duration::from_secs(1))).is_err());
    let mut statuses = client.status_changes();
    let mut changes = client.changes();
    assert!(block_on(statuses.next()).is_some());
    serde_json::to_string(&client.diagnostics()).unwrap();
    drop(client);
    assert!(block_on(statuses.next()).is_none());
    assert!(block_on(changes.next()).is_none());
}

#[test]
fn a_client_on_another_runtime_can_be_waited_for_without_one() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (client, _) = client("http://127.0.0.1:1");
    client.start_on(runtime.handle());
    block_on(client.suspend(Duration::from_secs(5))).unwrap();
    client.start_on(runtime.handle());
    assert!(block_on(client.sync_once(Duration::from_millis(200))).is_err());
    block_on(client.stop());
    assert_eq!(client.status().lifecycle, Lifecycle::Stopped);
    // With its runtime gone, the client is at rest, and can begin anew on another one.
    client.start_on(runtime.handle());
    drop(runtime);
    block_on(client.stop());
    assert_eq!(client.status().lifecycle, Lifecycle::Stopped);
    block_on(client.suspend(Duration::from_secs(5))).unwrap();
    let other = tokio::runtime::Runtime::new().unwrap();
    client.start_on(other.handle());
    let running = |s: &evenkeel::Status| s.lifecycle == Lifecycle::Running;
    other.block_on(until(&client, "running", running));
}

/// Drives a future on a thread that is in no runtime.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Wake(std::thread::Thread);
    impl std::task::Wake for Wake {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Wake(std::thread::current())).into();
    let mut cx = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    let end = std::time::Instant::now() + common::PATIENCE;
    loop {
        if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            return value;
        }
        assert!(std::time::Instant::now() < end, "hangs");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

#[tokio::test]
async fn a_client_that_is_dropped_without_stop_leaves_no_task_behind() {
    // The healthy, the hanging, and the one that answers but keeps its streams silent.
    for kind in 0..3 {
        let service = Service::start().await;
        service.script(move |seen| match (kind, seen.path.as_str()) {
            (1, _) => Reply::Hang,
            (2, "/api/v2/events") => {
                let (sender, body) = Channel::<bytes::Bytes, std::io::Error>::new(1);
                std::mem::forget(sender);
                Reply::Full(stream(body.boxed()))
            }
            _ => Reply::Healthy,
        });
        tokio::task::yield_now().await;
        let baseline = alive();
        let (client, notes) = client(&service.url);
        let mut statuses = client.status_changes();
        client.start().unwrap();
        let twin = client.clone();
        notes.put("a", Map::new()).unwrap();
        eventually("requests", || service.requests() >= 1).await;
        if kind == 0 {
            synced(&client).await;
        }
        drop(client);
        assert!(alive() > baseline, "a handle is left");
        drop(twin);
        // The client's tasks, and the connections that the service had from it.
        eventually("the end of all tasks", || alive() <= baseline).await;
        let mut last = statuses.next().await.unwrap();
        while let Some(status) = statuses.next().await {
            last = status;
        }
        assert_eq!(last.lifecycle, Lifecycle::Stopped);
        // The replica outlives its client.
        notes.put("b", Map::new()).unwrap();
    }
}

fn alive() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

#[tokio::test]
async fn stop_returns_when_everything_has_ended_and_start_begins_anew() {
    let service = Service::start().await;
    let (client, notes) = client(&service.url);
    tokio::task::yield_now().await;
    let baseline = alive();
    for round in 0..3 {
        client.start().unwrap();
        client.start().unwrap();
        service.write("n", &round.to_string());
        synced(&client).await;
        assert_eq!(notes.get("n").unwrap().fields["content"], round.to_string());
        client.stop().await;
        client.stop().await;
        assert_eq!(client.status().lifecycle, Lifecycle::Stopped);
        assert_eq!(client.status().link, Link::None);
        eventually("the end of all tasks", || alive() <= baseline).await;
    }
    let versions = client.status().version;
    client.start().unwrap();
    synced(&client).await;
    assert!(
        client.status().version > versions,
        "versions rise over restarts"
    );
}

#[tokio::test]
async fn a_suspended_client_sends_nothing_and_resumes() {
    let service = Service::start().await;
    let (client, notes) = client(&service.url);
    client.start().unwrap();
    synced(&client).await;
    client.suspend(Duration::from_secs(5)).await.unwrap();
    let status = client.status();
    assert_eq!(status.lifecycle, Lifecycle::Suspended);
    assert_eq!(status.link, Link::None);
    let sent = service.requests();
    notes.put("a", Map::new()).unwrap();
    client.sync_now();
    client.retry_now();
    client.set_network(Network::Up);
    until(&client, "counted", |s| s.pending == 1).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(service.requests(), sent);
    client.resume();
    until(&client, "synced", |s| {
        s.state == SyncState::Synced && s.pending == 0
    })
    .await;
}

#[tokio::test]
async fn what_is_said_before_the_start_holds() {
    let service = Service::start().await;
    let (client, _) = client(&service.url);
    client.set_network(Network::Down);
    client.start().unwrap();
    let status = common::degraded(&client).await;
    assert_eq!(status.cause, Some(evenkeel::Cause::Offline));
    client.stop().await;
    client.start().unwrap();
    let status = until(&client, "offline again", |s| {
        s.lifecycle == Lifecycle::Running && s.cause.is_some()
    })
    .await;
    assert_eq!(status.cause, Some(evenkeel::Cause::Offline));
    assert_eq!(service.requests(), 0);
    client.set_network(Network::Up);
    synced(&client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_calls_in_any_order_neither_hang_nor_panic() {
    let service = Service::start().await;
    let round = std::sync::atomic::AtomicUsize::new(0);
    service.script(
        move |_| match round.fetch_add(1, std::sync::atomic::Ordering::SeqCst) % 11 {
            3 => Reply::Hang,
            7 => Reply::Full(common::unavailable("upstream_5xx", None)),
            _ => Reply::Healthy,
        },
    );
    for seed in 0..12 {
        let rng = fastrand::Rng::with_seed(seed);
        let (client, notes) = client(&service.url);
        let calls = async {
            let callers = (0..3).map(|n| {
                let mut rng = rng.clone();
                rng.seed(seed * 100 + n);
                let (client, notes) = (client.clone(), notes.clone());
                tokio::spawn(async move {
                    for _ in 0..60 {
                        call(&client, &notes, &mut rng).await;
                    }
                })
            });
            for caller in callers.collect::<Vec<_>>() {
                caller.await.unwrap();
            }
            client.stop().await;
        };
        let done = tokio::time::timeout(Duration::from_secs(60), calls).await;
        assert!(done.is_ok(), "seed {seed} hangs");
        let lifecycle = client.status().lifecycle;
        assert_eq!(lifecycle, Lifecycle::Stopped, "seed {seed} {client:#?}");
    }
    // After all that, it still works.
    service.heal();
    let (client, _) = client(&service.url);
    client.start().unwrap();
    synced(&client).await;
}

async fn call(client: &SyncClient, notes: &evenkeel::MemoryReplica, rng: &mut fastrand::Rng) {
    let soon = Duration::from_millis(rng.u64(..20));
    match rng.u32(..16) {
        0..3 => client.start().unwrap(),
        3 => client.stop().await,
        4 => drop(client.suspend(soon).await),
        5 => client.resume(),
        6 => drop(client.sync_once(soon).await),
        7 => drop(tokio::time::timeout(soon, client.sync_once(soon * 2)).await),
        8 => drop(tokio::time::timeout(soon, client.stop()).await),
        9 => {
            let networks = [Network::Up, Network::Metered, Network::Down];
            client.set_network(networks[rng.usize(..3)]);
        }
        10 => client.set_foreground(rng.bool()),
        11 => client.set_token_changed(),
        12 => client.retry_now(),
        13 => client.sync_now(),
        14 => drop(notes.put(&format!("n{}", rng.u32(..5)), Map::new())),
        _ => {
            let _ = (client.status(), client.diagnostics());
            let mut statuses = client.status_changes();
            assert!(statuses.next().await.is_some());
            tokio::time::sleep(soon).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_stream_read_at_leisure_ends_with_the_last_status() {
    let service = Service::start().await;
    let (client, _) = client(&service.url);
    let mut slow = client.status_changes();
    let mut seen = slow.next().await.unwrap();
    for _ in 0..10 {
        client.start().unwrap();
        tokio::time::sleep(Duration::from_millis(3)).await;
        client.stop().await;
    }
    let last = client.status();
    while seen.version < last.version {
        let next = tokio::time::timeout(common::PATIENCE, slow.next()).await;
        let next = next.unwrap().unwrap();
        assert!(next.version > seen.version);
        seen = next;
    }
    assert_eq!(seen, last);
}
