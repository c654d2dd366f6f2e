//! The proxy that the scenarios' weather comes from: each of its faults is what it says, on real sockets.

#![allow(clippy::unwrap_used, reason = "a panic is a test's verdict")]

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use evenkeel_e2e::proxy::{End, FaultProxy, Way, Weather};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

/// An echo behind a proxy, with how many connections it got.
async fn echo() -> FaultProxy {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = socket.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    FaultProxy::start(target).await
}

async fn connect(proxy: &FaultProxy) -> TcpStream {
    TcpStream::connect(proxy.addr()).await.unwrap()
}

/// Says something and hears it back; how long that took.
async fn there_and_back(socket: &mut TcpStream) -> Duration {
    let begun = Instant::now();
    socket.write_all(b"hello").await.unwrap();
    let mut heard = [0; 5];
    let reading = socket.read_exact(&mut heard);
    timeout(BOUND, reading).await.unwrap().unwrap();
    assert_eq!(&heard, b"hello");
    begun.elapsed()
}

async fn silent(socket: &mut TcpStream) {
    let heard = timeout(Duration::from_millis(300), socket.read_u8()).await;
    assert!(heard.is_err(), "{heard:?}");
}

async fn was_reset(socket: &mut TcpStream) {
    let error = timeout(BOUND, socket.read_u8()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let waiting = async {
        while !holds().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(BOUND, waiting).await.is_ok(), "{what}");
}

#[tokio::test]
async fn it_carries_everything_counts_it_and_passes_an_end_on() {
    let proxy = echo().await;
    let mut socket = connect(&proxy).await;
    there_and_back(&mut socket).await;
    assert_eq!((proxy.live(), proxy.taken()), (1, 1));
    let sent: Vec<u8> = (0..1_000_000_u32).map(|n| n as u8).collect();
    let (mut from, mut to) = socket.split();
    let mut heard = vec![0; sent.len()];
    let (written, read) = tokio::join!(to.write_all(&sent), from.read_exact(&mut heard));
    written.unwrap();
    read.unwrap();
    assert!(heard == sent);
    to.shutdown().await.unwrap();
    assert_eq!(
        from.read(&mut heard).await.unwrap(),
        0,
        "the echo's own end"
    );
    assert_eq!(
        [Way::Up, Way::Down].map(|way| proxy.bytes(way)),
        [1_000_005; 2]
    );
    drop(socket);
    eventually("nothing is held", async || proxy.live() == 0).await;
}

#[tokio::test]
async fn latency_is_for_both_directions_and_does_not_add_up() {
    let proxy = echo().await;
    let mut socket = connect(&proxy).await;
    let (delay, jitter) = (Duration::from_millis(100), Duration::from_millis(50));
    proxy.set(Weather::Latency { delay, jitter });
    let took = there_and_back(&mut socket).await;
    assert!(took >= 2 * delay, "{took:?}");
    let most = 2 * (delay + jitter) + Duration::from_secs(1);
    assert!(took < most, "{took:?}");
    // Forty chunks on the way at once come after one delay, not after forty.
    let begun = Instant::now();
    let sent = vec![7; 40 * 16 * 1024];
    let (mut from, mut to) = socket.split();
    let mut heard = vec![0; sent.len()];
    let (written, read) = tokio::join!(to.write_all(&sent), from.read_exact(&mut heard));
    written.unwrap();
    read.unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    proxy.set(Weather::Through);
    assert!(there_and_back(&mut socket).await < 2 * delay);
}

#[tokio::test]
async fn bandwidth_is_shared_out_by_the_second() {
    let proxy = echo().await;
    let mut socket = connect(&proxy).await;
    proxy.set(Weather::Bandwidth(50_000));
    let begun = Instant::now();
    let sent = vec![7; 50_000];
    let (mut from, mut to) = socket.split();
    let mut heard = vec![0; sent.len()];
    let (written, read) = tokio::join!(to.write_all(&sent), from.read_exact(&mut heard));
    written.unwrap();
    read.unwrap();
    let took = begun.elapsed();
    assert!((0.8..5.0).contains(&took.as_secs_f64()), "{took:?}");
}

#[tokio::test]
async fn what_is_lost_in_one_direction_comes_when_the_way_is_back() {
    for way in [Way::Up, Way::Down] {
        let proxy = echo().await;
        let mut socket = connect(&proxy).await;
        there_and_back(&mut socket).await;
        proxy.set(Weather::Loss(way));
        socket.write_all(b"x").await.unwrap();
        silent(&mut socket).await;
        let up = proxy.bytes(Way::Up);
        assert_eq!(up, if way == Way::Up { 5 } else { 6 });
        proxy.set(Weather::Through);
        assert_eq!(
            timeout(BOUND, socket.read_u8()).await.unwrap().unwrap(),
            b'x'
        );
    }
}

#[tokio::test]
async fn resets_and_refusals_meet_live_connections_and_new_ones() {
    let proxy = echo().await;
    let mut live = connect(&proxy).await;
    there_and_back(&mut live).await;
    proxy.set(Weather::Reset);
    was_reset(&mut live).await;
    was_reset(&mut connect(&proxy).await).await;

    proxy.set(Weather::Through);
    let mut live = connect(&proxy).await;
    there_and_back(&mut live).await;
    proxy.set(Weather::Refuse);
    was_reset(&mut live).await;
    eventually("connections are refused", async || {
        let refused = TcpStream::connect(proxy.addr()).await;
        refused.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    })
    .await;
    proxy.set(Weather::Through);
    eventually("the same port is back", async || {
        TcpStream::connect(proxy.addr()).await.is_ok()
    })
    .await;
    there_and_back(&mut connect(&proxy).await).await;
}

#[tokio::test]
async fn a_half_open_connection_stays_silent_for_ever_and_new_ones_are_as_was_asked() {
    for new_ones_work in [true, false] {
        let proxy = echo().await;
        let mut old = connect(&proxy).await;
        there_and_back(&mut old).await;
        proxy.set(Weather::HalfOpen { new_ones_work });
        let mut new = connect(&proxy).await;
        if new_ones_work {
            there_and_back(&mut new).await;
        } else {
            new.write_all(b"x").await.unwrap();
            silent(&mut new).await;
        }
        proxy.set(Weather::Through);
        old.write_all(b"x").await.unwrap();
        silent(&mut old).await;
        there_and_back(&mut connect(&proxy).await).await;
    }
}

#[tokio::test]
async fn a_cut_comes_after_so_many_bytes_more_with_the_end_that_was_asked_for() {
    for how in [End::Fin, End::Rst] {
        let proxy = echo().await;
        let mut socket = connect(&proxy).await;
        there_and_back(&mut socket).await;
        proxy.set(Weather::Cut {
            after_bytes: 7,
            how,
        });
        socket.write_all(b"0123456789").await.unwrap();
        let mut heard = [0; 7];
        timeout(BOUND, socket.read_exact(&mut heard))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(&heard, b"0123456");
        match how {
            End::Fin => assert_eq!(socket.read(&mut heard).await.unwrap(), 0),
            End::Rst => was_reset(&mut socket).await,
        }
        let mut next = connect(&proxy).await;
        there_and_back(&mut next).await;
        next.write_all(b"01").await.unwrap();
        let mut heard = [0; 2];
        timeout(BOUND, next.read_exact(&mut heard))
            .await
            .unwrap()
            .unwrap();
    }
}

#[tokio::test]
async fn a_stall_takes_what_new_connections_say_and_leaves_live_ones_alone() {
    let proxy = echo().await;
    let mut live = connect(&proxy).await;
    there_and_back(&mut live).await;
    proxy.set(Weather::Stall);
    let mut new = connect(&proxy).await;
    new.write_all(&[22; 2_000]).await.unwrap();
    silent(&mut new).await;
    there_and_back(&mut live).await;
    assert_eq!(proxy.bytes(Way::Up), 10, "nothing of it was passed on");
    drop(new);
    eventually("who gives up is let go", async || proxy.live() == 1).await;
}

#[tokio::test]
async fn dropping_it_ends_everything_and_nothing_there_is_a_reset() {
    let proxy = echo().await;
    let mut live = connect(&proxy).await;
    there_and_back(&mut live).await;
    let addr = proxy.addr();
    drop(proxy);
    let ended = timeout(BOUND, live.read_u8()).await.unwrap();
    assert!(ended.is_err());
    eventually("nobody listens", async || {
        TcpStream::connect(addr).await.is_err()
    })
    .await;

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let proxy = FaultProxy::start(nobody).await;
    was_reset(&mut connect(&proxy).await).await;
}

const BOUND: Duration = Duration::from_secs(10);
