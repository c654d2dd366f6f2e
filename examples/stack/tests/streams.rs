//! The event stream, whole and broken.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails")]

mod support;

use std::time::{Duration, Instant};

use evenkeel_stack::{Cut, Flap};
use serde_json::json;
use support::{Device, Events, eventually, start, within};

#[tokio::test]
async fn heartbeats_come_at_their_interval_and_can_stop() {
    let stack = start(&[("heartbeat_ms", "60")]).await;
    let mut events = Device::edge(&stack).stream().await;
    let begun = Instant::now();
    events.expect("ready").await;
    for _ in 0..3 {
        let beat = events.expect("heartbeat").await;
        assert!(beat["ts"].as_i64().unwrap() > 1_600_000_000_000);
    }
    assert!(begun.elapsed() >= Duration::from_millis(170));
    stack.faults().update(|f| f.stream_no_heartbeats = true);
    events.expect_silence(Duration::from_millis(200)).await;
    stack.faults().reset();
    events.expect("heartbeat").await;
}

#[tokio::test]
async fn a_retry_field_is_sent_only_when_asked_for() {
    let stack = start(&[("stream_retry_ms", "4321")]).await;
    let mut events = Device::edge(&stack).stream().await;
    let chunk = within(events.response.chunk()).await.unwrap().unwrap();
    let text = std::str::from_utf8(&chunk).unwrap();
    assert!(text.starts_with("retry: 4321\nevent: ready\n"), "{text}");
    let stack = start(&[]).await;
    let mut events = Device::edge(&stack).stream().await;
    let chunk = within(events.response.chunk()).await.unwrap().unwrap();
    assert!(chunk.starts_with(b"event: ready\n"));
}

#[tokio::test]
async fn every_open_stream_can_be_cut_in_both_ways() {
    let stack = start(&[]).await;
    let device = Device::direct(&stack);
    for how in [Cut::Clean, Cut::Reset] {
        let mut first = device.stream().await;
        let mut second = device.stream().await;
        first.expect("ready").await;
        second.expect("ready").await;
        stack.faults().cut_streams(how);
        for events in [&mut first, &mut second] {
            let end = within(events.try_next()).await;
            match how {
                Cut::Clean => assert_eq!(end.unwrap(), None),
                Cut::Reset => {
                    let error = format!("{:?}", end.unwrap_err());
                    assert!(error.contains("ConnectionReset"), "{error}");
                }
            }
        }
        eventually(async || stack.origin().streams_open() == 0).await;
        // It was for those that were open: the next one lives.
        let mut next = device.stream().await;
        next.expect("ready").await;
        next.expect_silence(Duration::from_millis(30)).await;
    }
}

#[tokio::test]
async fn flapping_streams_end_after_their_time() {
    let stack = start(&[]).await;
    let device = Device::edge(&stack);
    let flap = Flap {
        after_ms: 80,
        how: Cut::Clean,
    };
    stack.faults().update(|f| f.stream_flaps = Some(flap));
    for _ in 0..3 {
        let begun = Instant::now();
        let mut events = device.stream().await;
        events.expect("ready").await;
        assert_eq!(within(events.try_next()).await.unwrap(), None);
        assert!(begun.elapsed() >= Duration::from_millis(75));
    }
}

#[tokio::test]
async fn a_silent_stream_has_headers_and_never_a_byte_even_afterwards() {
    let stack = start(&[("heartbeat_ms", "20")]).await;
    let device = Device::edge(&stack);
    let mut before = device.stream().await;
    before.expect("ready").await;
    stack.faults().update(|f| f.stream_silent = true);
    let mut during = device.stream().await;
    during.expect_silence(Duration::from_millis(100)).await;
    stack.faults().reset();
    device.write("n", 0, "x").await;
    during.expect_silence(Duration::from_millis(100)).await;
    device.stream().await.expect("ready").await;
    // What was sent before it fell silent may still have been under way.
    while let Ok(Ok(Some(_))) =
        tokio::time::timeout(Duration::from_millis(100), before.try_next()).await
    {}
    before.expect_silence(Duration::from_millis(100)).await;
    stack.faults().cut_streams(Cut::Reset);
    assert!(within(during.try_next()).await.is_err());
}

#[tokio::test]
async fn headers_that_are_held_back_come_when_the_fault_is_cleared() {
    let stack = start(&[]).await;
    let device = Device::direct(&stack);
    stack.faults().update(|f| f.stream_headers_never = true);
    let ticket = device.ticket().await;
    let opening = device.open(&ticket);
    let clearing = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(stack.origin().streams_open(), 0);
        stack.faults().reset();
    };
    let (response, ()) = tokio::join!(opening, clearing);
    Events::of(response.unwrap()).expect("ready").await;
}

#[tokio::test]
async fn dripping_sends_one_byte_at_a_time() {
    let stack = start(&[]).await;
    stack.faults().update(|f| f.stream_drip_ms = Some(2));
    let mut events = Device::edge(&stack).stream().await;
    let mut text = String::new();
    let begun = Instant::now();
    while !text.ends_with("\n\n") {
        let chunk = within(events.response.chunk()).await.unwrap().unwrap();
        assert_eq!(chunk.len(), 1);
        text.push(char::from(chunk[0]));
    }
    assert!(text.starts_with("event: ready\ndata: {"), "{text}");
    assert!(begun.elapsed() >= Duration::from_millis(2 * 30));
    stack.faults().reset();
    Device::edge(&stack).write("n", 0, "x").await;
    events.expect("sync").await;
}

#[tokio::test]
async fn announcements_can_be_doubled_swapped_or_lost() {
    let stack = start(&[]).await;
    let device = Device::edge(&stack);
    let mut events = device.stream().await;
    events.expect("ready").await;
    let mut version = 0;
    let mut write = async || {
        let answer = device.write("n", version, &version.to_string()).await;
        version += 1;
        answer.next_cursor.0
    };

    stack.faults().update(|f| f.announcements_duplicated = true);
    let cursor = write().await;
    for _ in 0..2 {
        assert_eq!(events.expect("sync").await["cursor"], json!(cursor));
    }
    stack.faults().reset();

    stack.faults().update(|f| f.announcements_reordered = true);
    let (earlier, later) = (write().await, write().await);
    assert!(earlier < later);
    assert_eq!(events.expect("sync").await["cursor"], json!(later));
    assert_eq!(events.expect("sync").await["cursor"], json!(earlier));
    stack.faults().reset();

    stack.faults().update(|f| f.announcements_missing = true);
    write().await;
    events.expect_silence(Duration::from_millis(80)).await;
    stack.faults().reset();
    let cursor = write().await;
    assert_eq!(events.expect("sync").await["cursor"], json!(cursor));
}

#[tokio::test]
async fn users_hear_only_of_their_own_changes() {
    let stack = start(&[("open_tokens", "true")]).await;
    let (mut ann, mut bob) = (Device::edge(&stack), Device::edge(&stack));
    "user:ann".clone_into(&mut ann.token);
    "user:bob".clone_into(&mut bob.token);
    let mut events = bob.stream().await;
    events.expect("ready").await;
    ann.write("n", 0, "private").await;
    assert!(bob.pull(0).await.changes.is_empty());
    events.expect_silence(Duration::from_millis(50)).await;
    let cursor = bob.write("n", 0, "own").await.next_cursor.0;
    assert_eq!(events.expect("sync").await["cursor"], json!(cursor));
}

#[tokio::test]
async fn five_hundred_streams_hear_of_a_change() {
    let stack = start(&[
        ("rate_limit_requests", "100000"),
        ("proxy_timeout_ms", "9000"),
    ])
    .await;
    let device = Device::edge(&stack);
    let mut streams = Vec::new();
    for _ in 0..500 {
        let mut events = device.stream().await;
        events.expect("ready").await;
        streams.push(events);
    }
    assert_eq!(stack.origin().streams_open(), 500);
    let cursor = stack
        .origin()
        .write_note("demo", "n", "for all")
        .await
        .unwrap();
    for events in &mut streams {
        assert_eq!(events.expect("sync").await["cursor"], json!(cursor));
    }
    drop(streams);
    eventually(async || stack.origin().streams_open() == 0).await;
}
