//! Streams that say too much.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use evenkeel::Cause;

use crate::scene::{MIB, Scene, every_lane};
use crate::server::{EVENTS, PULL, READY, Reply, stream_head};

mod run {
    crate::scenarios! {
        a_million_announcements
        a_million_heartbeats_and_comments
        an_event_of_countless_lines
        a_stream_that_ends_at_once
        retry_for_ever
    }
}

async fn flood(chunk: String, times: usize) {
    let scene = Scene::start().await;
    let pulls = scene.service.requests_to(PULL);
    let begin = format!("{}{READY}", stream_head(""));
    scene.service.answer(
        EVENTS,
        Reply::TimesHeld(begin.into(), chunk.clone().into(), times),
    );
    scene.service.cut_streams();
    let (begun, all) = (Instant::now(), (chunk.len() * times) as u64);
    let state = &scene.service.state;
    while state.taken.load(Ordering::SeqCst) < all {
        assert!(
            begun.elapsed() < Duration::from_secs(40),
            "it does not take it all"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = begun.elapsed();
    scene.synced("after the flood").await;
    let pulls = scene.service.requests_to(PULL) - pulls;
    eprintln!("measured: {all} bytes in {took:.1?}, {pulls} pulls");
    // As many as the pace allows at once, and a minute's for a minute.
    let allowed = 40 + 80 * begun.elapsed().as_secs() as usize / 60 + 1;
    assert!(pulls <= allowed, "{pulls} pulls");
    scene.write().await;
    scene.recover().await;
    scene.finish(8 * MIB, 70).await;
}

async fn a_million_announcements() {
    // Up and down, beyond the server's own head and below ours.
    let event = |n: u64| format!("event: sync\ndata: {{\"cursor\":{}}}\n\n", n * 7 % 1000);
    flood((0..1_000).map(event).collect(), 1_000).await;
}

async fn a_million_heartbeats_and_comments() {
    flood(
        "event: heartbeat\ndata: {\"ts\":1}\n\n:\n\nretry: 1\n\nevent: x\ndata\n\n".repeat(250),
        1_000,
    )
    .await;
}

async fn an_event_of_countless_lines() {
    every_lane(&[EVENTS], 10 * MIB, |_| {
        let begin = format!("{}{READY}", stream_head(""));
        (
            Reply::Endless(begin.into(), b"data\n".repeat(10_000)),
            Cause::ResponseTooLarge,
        )
    })
    .await;
}

/// Accepted and closed, again and again: that costs no more than any other failure.
async fn a_stream_that_ends_at_once() {
    let scene = Scene::start().await;
    let text = format!("{}{READY}", stream_head(""));
    scene.service.answer(EVENTS, Reply::Bytes(text.into()));
    scene.service.cut_streams();
    let before = scene.service.requests();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let requests = scene.service.requests() - before;
    assert!(requests <= 20, "{requests} requests in 5 s");
    scene.write().await;
    scene.recover().await;
    scene.finish(4 * MIB, 40).await;
}

async fn retry_for_ever() {
    let scene = Scene::start().await;
    let text = format!(
        "{}{READY}retry: 99999999999999999999999\n\n",
        stream_head("")
    );
    scene.service.answer(EVENTS, Reply::Bytes(text.into()));
    scene.service.cut_streams();
    scene.degraded(EVENTS, Cause::StreamClosed).await;
    scene.write().await;
    scene.recover().await;
    scene.finish(4 * MIB, 40).await;
}
