//! One edge before several origins: they are taken in turn, and one that is not there is passed over.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails")]

mod support;

use evenkeel_stack::{
    EdgeOptions, EdgeServer, Lane, OriginErrors, OriginOptions, OriginServer, run_edge, run_origin,
};
use support::{Device, expect_refusal, short, within};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

/// Two origins that know each other's tickets, and an edge before them.
struct Pair {
    edge: EdgeServer,
    first: OriginServer,
    second: OriginServer,
}

impl Pair {
    async fn start() -> Self {
        let settings = short(&[("ticket_secret", "shared")]);
        let origin = || OriginOptions {
            settings: settings.clone(),
            ..OriginOptions::default()
        };
        let first = run_origin(origin()).await.unwrap();
        let second = run_origin(origin()).await.unwrap();
        let edge = before(&[first.url(), second.url()]).await;
        Self {
            edge,
            first,
            second,
        }
    }

    /// How many requests of this lane each of the two has seen.
    fn seen(&self, lane: Lane) -> [usize; 2] {
        [&self.first, &self.second].map(|origin| {
            let all = origin.requests().all();
            all.iter().filter(|record| record.lane == lane).count()
        })
    }
}

async fn before(origins: &[String]) -> EdgeServer {
    let options = EdgeOptions {
        origin_urls: origins.to_vec(),
        settings: short(&[]),
        ..EdgeOptions::default()
    };
    run_edge(options).await.unwrap()
}

#[tokio::test]
async fn they_are_taken_in_turn() {
    let pair = Pair::start().await;
    let device = Device::at(&pair.edge.url());
    for _ in 0..6 {
        device.pull(0).await;
    }
    assert_eq!(pair.seen(Lane::Pull), [3, 3]);
    let mut events = device.stream().await;
    events.expect("ready").await;
}

#[tokio::test]
async fn one_that_refuses_is_passed_over_for_streams_and_tickets_too() {
    let Pair {
        edge,
        first,
        second,
    } = Pair::start().await;
    let device = Device::at(&edge.url());
    first.stop().await;
    for _ in 0..4 {
        device.pull(0).await;
        let mut events = device.stream().await;
        events.expect("ready").await;
    }
    let metrics = device.send(device.get("/api/v1/metrics")).await;
    let metrics: serde_json::Value = metrics.json().await.unwrap();
    assert_eq!(metrics["metrics"]["vpsProxyFailures"], 0, "{metrics}");
    assert_eq!(metrics["metrics"]["vpsProxyRetries"], 0, "{metrics}");

    second.stop().await;
    let response = device.try_pull(0).await.unwrap();
    let network = Some("network_error");
    expect_refusal(response, 503, "SERVICE_UNAVAILABLE", network).await;
}

#[tokio::test]
async fn a_repeat_goes_to_the_next_and_what_is_never_repeated_to_none() {
    let pair = Pair::start().await;
    pair.first.faults().update(|f| {
        f.origin_errors = Some(OriginErrors {
            status: 500,
            ..OriginErrors::default()
        });
    });
    let device = Device::at(&pair.edge.url());
    for _ in 0..4 {
        device.pull(0).await;
    }
    assert_eq!(pair.seen(Lane::Pull), [2, 4]);

    let mut refused = 0;
    for _ in 0..4 {
        let response = device.send(device.post("/api/v2/events/ticket")).await;
        refused += u32::from(response.status() == 503);
    }
    assert_eq!(refused, 2);
    assert_eq!(pair.seen(Lane::Ticket), [2, 2]);
}

/// It took the request: whoever sends it again is not passing anything over.
#[tokio::test]
async fn one_that_breaks_after_it_was_sent_something_costs_the_repeat() {
    let pair = Pair::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let breaking = format!("http://{}", listener.local_addr().unwrap());
    let taken = tokio::spawn(async move {
        let mut taken = 0;
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.read_u8().await;
            taken += 1;
            if taken == 2 {
                break;
            }
        }
        taken
    });
    let edge = before(&[breaking, pair.second.url()]).await;
    let device = Device::at(&edge.url());
    device.pull(0).await;
    device.pull(0).await;
    let metrics = device.send(device.get("/api/v1/metrics")).await;
    let metrics: serde_json::Value = metrics.json().await.unwrap();
    assert_eq!(metrics["metrics"]["vpsProxyRetries"], 1, "{metrics}");
    let response = device.send(device.post("/api/v2/events/ticket")).await;
    let network = Some("network_error");
    expect_refusal(response, 503, "SERVICE_UNAVAILABLE", network).await;
    assert_eq!(within(taken).await.unwrap(), 2);
}
