//! Nothing is wrong: ticket, stream, write, announcement, pull.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails")]

mod support;

use evenkeel_stack::{Lane, Part, Stack};
use serde_json::json;
use support::{Device, start};

#[tokio::test]
async fn a_write_on_one_device_is_announced_to_another_and_pulled() {
    let stack = start(&[]).await;
    let (phone, laptop) = (Device::edge(&stack), Device::edge(&stack));
    let mut events = laptop.stream().await;
    let ready = events.expect("ready").await;
    assert!(ready["connectedAt"].as_i64().unwrap() > 1_600_000_000_000);

    let answer = phone.write("n1", 0, "milk").await;
    assert_eq!(answer.applied.len(), 1);
    let cursor = answer.applied[0].cursor.0;
    assert_eq!(answer.next_cursor.0, cursor);

    let sync = events.expect("sync").await;
    assert_eq!(sync["cursor"], json!(cursor));
    let page = laptop.pull(0).await;
    assert_eq!(page.next_cursor.0, cursor);
    let note = page.changes[0].note.as_ref().unwrap();
    assert_eq!(note.fields["content"], "milk");
    assert_eq!(note.version.0, 1);
    assert_eq!(note.fields["lastModifiedByDeviceId"], json!(phone.id));
    assert!(laptop.pull(cursor).await.changes.is_empty());

    let lanes: Vec<Lane> = stack
        .requests()
        .of_device(&laptop.id)
        .iter()
        .map(|r| r.lane)
        .collect();
    assert_eq!(lanes, [Lane::Ticket, Lane::Pull, Lane::Pull]);
    let origin = stack.requests().at(Part::Origin);
    assert_eq!(origin.len(), 5);
    assert!(origin.iter().all(|r| r.status == Some(200)));
    stack.stop().await;
}

#[tokio::test]
async fn stopping_and_dropping_leave_nothing_behind() {
    for stop in [true, false] {
        let stack = Stack::builder().start().await.unwrap();
        let device = Device::edge(&stack);
        let mut events = device.stream().await;
        events.expect("ready").await;
        let urls = [stack.edge_url(), stack.origin_url(), stack.control_url()];
        let urls = urls.map(|url| url.strip_prefix("http://").unwrap().to_owned());
        if stop {
            stack.stop().await;
        } else {
            drop(stack);
        }
        let end = support::within(events.try_next()).await;
        assert!(matches!(end, Ok(None) | Err(_)), "{end:?}");
        for url in urls {
            support::eventually(async || tokio::net::TcpStream::connect(&url).await.is_err()).await;
        }
    }
}
