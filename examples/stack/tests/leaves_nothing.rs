//! Alone in its process, for it counts what the whole process holds.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails")]

mod support;

use evenkeel_stack::Stack;
use support::{Device, Visitor, eventually};

#[tokio::test]
async fn after_stopping_no_task_thread_or_descriptor_is_left() {
    let folder = tempfile::tempdir().unwrap();
    // Whatever is made once and kept is made by the first round.
    round(folder.path(), false).await;
    round(folder.path(), true).await;
    eventually(async || tasks() == 0).await;
    let before = (descriptors(), threads());
    for tls in [false, true, false, true] {
        round(folder.path(), tls).await;
        assert_eq!(tasks(), 0);
    }
    // The system may show a thread for a moment after its last instruction, before and now.
    eventually(async || descriptors() <= before.0 && threads() <= before.1).await;
}

async fn round(folder: &std::path::Path, tls: bool) {
    let builder = Stack::builder().data(folder);
    let builder = match tls {
        true => builder.tls(folder),
        false => builder,
    };
    let stack = builder.start().await.unwrap();
    let device = Device::edge(&stack);
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut events = device.stream().await;
        events.expect("ready").await;
        streams.push(events);
    }
    let visitor = Visitor::device(&stack).connected("gemini").await;
    visitor.works().await;
    stack.restart_edge();
    visitor.works().await;
    stack.faults().update(|f| f.origin_hangs = true);
    let hanging = tokio::spawn({
        let device = device.clone();
        async move { device.try_pull(0).await }
    });
    eventually(async || {
        stack
            .requests()
            .all()
            .last()
            .unwrap()
            .path
            .ends_with("pull")
    })
    .await;
    hanging.abort();
    // Nothing to be had from it: it was cancelled.
    let _ = hanging.await;
    drop(streams);
    drop((device, visitor));
    stack.stop().await;
    // The client's own connections end when it sees that ours have.
    eventually(async || tasks() == 0).await;
}

fn tasks() -> usize {
    let handle = tokio::runtime::Handle::current();
    handle.metrics().num_alive_tasks()
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}
