//! Nothing is left of a client that was closed. In a process of its own, so that nothing else counts.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use evenkeel_ffi::{
    EvenkeelClient, EvenkeelConfig, ListenerError, StatusListener, SyncStatus, TokenProvider,
    TokenProviderError, TokenReason,
};

struct Token;

#[async_trait::async_trait]
impl TokenProvider for Token {
    async fn token(&self, _: TokenReason) -> Result<String, TokenProviderError> {
        Ok("demo-token".into())
    }
}

struct Deaf;

impl StatusListener for Deaf {
    fn on_status(&self, _: SyncStatus) -> Result<(), ListenerError> {
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
struct Held {
    threads: usize,
    files: usize,
    kib: usize,
}

fn held() -> Held {
    let count = |what: &str| fs::read_dir(format!("/proc/self/{what}")).unwrap().count();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    Held {
        threads: count("task"),
        files: count("fd"),
        kib: line
            .unwrap()
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse()
            .unwrap(),
    }
}

#[tokio::test]
async fn a_thousand_clients_come_and_go() {
    let stack = evenkeel_stack::Stack::builder().start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let cycle = async |n: u32| {
        let path = dir.path().join("store");
        let config = EvenkeelConfig {
            url: stack.edge_url().into(),
            account_id: "demo".into(),
            store_path: path.to_str().unwrap().into(),
            state_dir: None,
            device_id: None,
            durable: false,
            extra_root_certificates: None,
            proxy: Some("none".into()),
            requests_per_minute: None,
            outbox_soft_max: None,
            outbox_hard_max: None,
            store_bytes_max: None,
            connect_timeout_ms: None,
            token_timeout_ms: None,
            ai_timeout_ms: None,
            poll_every_ms: None,
            user_agent: None,
            seed: None,
        };
        let client = EvenkeelClient::open(config, Arc::new(Token)).await.unwrap();
        let kept = client.add_status_listener(Arc::new(Deaf)).unwrap();
        let changes = client.changes().unwrap();
        let waits = tokio::spawn(async move { changes.next().await });
        client
            .put("n".into(), format!(r#"{{"n":{n}}}"#))
            .await
            .unwrap();
        if n.is_multiple_of(4) {
            client.start().unwrap();
        }
        // One in eight is only let go of.
        if n % 8 != 1 {
            client.shut_down().await;
        }
        drop((client, kept));
        waits.await.unwrap()
    };
    for n in 0..50 {
        cycle(n).await;
    }
    let before = held();
    let begun = Instant::now();
    for n in 0..1_000 {
        cycle(n).await;
    }
    let took = begun.elapsed();
    // Those that were only let go of close by themselves, and the service sees its connections end.
    let until = Instant::now() + Duration::from_secs(20);
    let mut after = held();
    while (after.threads > before.threads || after.files > before.files) && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(50)).await;
        after = held();
    }
    println!("{before:?} → {after:?} in {took:?}");
    assert!(after.threads <= before.threads, "{before:?} → {after:?}");
    assert!(after.files <= before.files, "{before:?} → {after:?}");
    assert!(after.kib < before.kib + 20_480, "{before:?} → {after:?}");
    stack.stop().await;
}
