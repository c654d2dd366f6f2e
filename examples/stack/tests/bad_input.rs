//! Whatever comes in, nothing panics and the service goes on.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails")]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use evenkeel_stack::Stack;
use serde_json::json;
use support::{Device, start, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Alone in its process: it hears of every panic in it.
#[tokio::test]
async fn garbage_is_answered_or_dropped_and_nothing_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        before(info);
    }));
    let stack = start(&[("rate_limit_requests", "100000"), ("open_tokens", "true")]).await;
    for url in [stack.edge_url(), stack.origin_url(), stack.control_url()] {
        for request in raw_requests() {
            send_raw(url, &request).await;
        }
    }
    odd_values(&stack).await;
    stack.faults().reset();
    Device::edge(&stack).pull(0).await;
    assert_eq!(PANICS.load(Ordering::SeqCst), 0);
}

fn raw_requests() -> Vec<Vec<u8>> {
    let mut requests: Vec<Vec<u8>> = [
        &b"\0\0\0\0"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET",
        b"GET /api/v2/sync/pull HTTP/1.1\r\n",
        b"GET /api/v2/sync/pull?cursor=%ff%fe HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /api/v2/sync/pull?cursor=99999999999999999999999 HTTP/1.1\r\nhost: x\r\n\
          authorization: Bearer demo-token\r\n\r\n",
        b"GET /api/v2/events?ticket=%00%f0%9f%92%a9 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /api/v2/events HTTP/1.1\r\nhost: x\r\ncookie: \xff\xfe=;;;=\r\n\r\n",
        b"GET /api/v2/sync/pull HTTP/1.1\r\nhost: x\r\nauthorization: \xff\xfe\r\n\r\n",
        b"GET /api/v2/sync/pull HTTP/1.1\r\nhost: x\r\nauthorization: Bearer\r\n\r\n",
        b"POST /api/v2/sync/push HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nshort",
        b"POST /api/v2/sync/push HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"POST /api/v2/devices/%2e%2e/revoke HTTP/1.1\r\nhost: x\r\n\r\n",
        b"PUT /faults/%ff HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\ntrue",
        b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n",
        b"CONNECT a.example:443 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET http://elsewhere.example/api/v2/sync/pull HTTP/1.1\r\nhost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    requests.push(format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(1_000_000)).into_bytes());
    let headers = "x: y\r\n".repeat(100_000);
    requests.push(format!("GET / HTTP/1.1\r\n{headers}\r\n").into_bytes());
    requests
}

async fn send_raw(url: &str, request: &[u8]) {
    let addr = url.strip_prefix("http://").unwrap();
    let mut socket = TcpStream::connect(addr).await.unwrap();
    // It may well close before all of it is sent.
    let _ = socket.write_all(request).await;
    let _ = socket.shutdown().await;
    let mut answer = Vec::new();
    let reading = socket.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_millis(200), reading).await;
}

async fn odd_values(stack: &Stack) {
    let mut device = Device::edge(stack);
    let deep = "[".repeat(200_000);
    for body in [
        deep.clone(),
        format!("{{\"operations\":{deep}"),
        json!({"operations": [{"requestId": "12345678", "op": "upsert", "noteId": "n",
            "baseVersion": u64::MAX, "note": {"id": "n", "version": u64::MAX,
            "createdAt": i64::MIN, "updatedAt": i64::MAX, "deletedAt": i64::MIN}}]})
        .to_string(),
        json!({"operations": [{"requestId": "12345679", "op": "upsert", "noteId": "n",
            "baseVersion": 0, "note": {"id": "n", "version": 0, "createdAt": i64::MIN,
            "updatedAt": i64::MAX, "tags": {}, "content": ["x"]}}]})
        .to_string(),
    ] {
        let request = device.post("/api/v2/sync/push");
        let request = request.header("content-type", "application/json");
        let status = device.send(request.body(body)).await.status();
        assert!(!status.is_server_error(), "{status}");
    }
    assert!(device.pull(i64::MAX as u64).await.changes.is_empty());
    for cursor in [u64::MAX, i64::MAX as u64 + 1] {
        let refused = device.try_pull(cursor).await.unwrap();
        assert_eq!(refused.status(), 400, "{cursor}");
    }
    "user:ann".clone_into(&mut device.token);
    let faults = stack.faults();
    for (name, value) in [
        ("rate_limited", json!({"retry_after_s": u64::MAX})),
        ("cdn_error", json!({"retry_after_s": u64::MAX})),
        ("origin_errors", json!({"retry_after_s": u64::MAX})),
        (
            "stream_flaps",
            json!({"after_ms": u64::MAX, "how": "clean"}),
        ),
        ("changes_pruned_through", json!(u64::MAX)),
        ("database_restored_to", json!(u64::MAX)),
    ] {
        for as_date in [false, true] {
            faults.set(name, value.clone()).unwrap();
            faults.update(|f| f.retry_after_as_date = as_date);
            within(device.try_pull(0)).await.unwrap();
            let ticket = device.send(device.post("/api/v2/events/ticket")).await;
            drop(ticket);
            faults.reset();
            // An answer below 500 keeps the circuit closed for the next round.
            device.send(device.get("/api/v2/nothing")).await;
        }
    }
    faults.update(|f| f.stream_drip_ms = Some(u64::MAX));
    let stream = device.stream().await;
    drop(stream);
}
