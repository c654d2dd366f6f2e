//! What each way of not getting an answer is called, on real sockets.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a panic is a test's verdict"
)]

mod common;

use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use common::{Reply, Service, answer, builder, degraded, full, refusal, stream};
use evenkeel::{
    Cause, Layer, Limits, ProxySetting, Resolver, ResolverFuture, Status, SyncClientBuilder,
    Timeouts,
};
use http_body_util::BodyExt as _;
use http_body_util::channel::Channel;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

async fn first_trouble(builder: SyncClientBuilder) -> Status {
    let client = builder.build().unwrap();
    client.start().unwrap();
    let status = degraded(&client).await;
    let told = client.diagnostics().failures;
    assert!(!told.is_empty() && told.iter().all(|f| !f.message.is_empty()));
    client.stop().await;
    status
}

/// A server that does this to every connection.
async fn raw<F>(with: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(with(socket));
        }
    });
    format!("http://127.0.0.1:{port}")
}

async fn answering(text: &'static str) -> String {
    raw(move |mut socket| async move {
        let mut request = [0; 4096];
        let _ = socket.read(&mut request).await;
        let _ = socket.write_all(text.as_bytes()).await;
    })
    .await
}

fn quick() -> Timeouts {
    let mut timeouts = Timeouts::default();
    timeouts.stream_headers = Duration::from_millis(500);
    timeouts.data = Duration::from_millis(500);
    timeouts.ready = Duration::from_millis(500);
    timeouts
}

struct Fixed(Result<Vec<IpAddr>, &'static str>);

impl Resolver for Fixed {
    fn resolve<'a>(&'a self, _: &'a str) -> ResolverFuture<'a> {
        let found = self.0.clone();
        Box::pin(async move { found.map_err(Into::into) })
    }
}

#[tokio::test]
async fn a_name_without_address_is_dns_failed() {
    for found in [Err("no such host"), Ok(vec![])] {
        let builder = builder("https://sync.example.com").resolver(Fixed(found));
        let status = first_trouble(builder.proxy(ProxySetting::None)).await;
        assert_eq!(status.cause, Some(Cause::DnsFailed));
        assert_eq!(status.layer, Some(Layer::Device));
    }
}

#[tokio::test]
async fn a_resolver_of_the_apps_own_is_asked() {
    let service = Service::start().await;
    let url = service.url.replace("localhost", "edge.localhost");
    let found = Ok(vec!["127.0.0.1".parse().unwrap()]);
    let client = builder(&url).resolver(Fixed(found)).build().unwrap();
    client.start().unwrap();
    common::synced(&client).await;
}

#[tokio::test]
async fn a_name_of_loopback_that_leads_elsewhere_gets_nothing() {
    let found = Ok(vec!["192.0.2.1".parse().unwrap()]);
    let builder = builder("http://edge.localhost:1").resolver(Fixed(found));
    assert_eq!(first_trouble(builder).await.cause, Some(Cause::DnsFailed));
    // Nor does the system's resolver have a say in where it leads.
    let service = Service::start().await;
    let url = service.url.replace("localhost", "any.name.localhost");
    let client = common::client(&url).0;
    client.start().unwrap();
    common::synced(&client).await;
}

#[tokio::test]
async fn nobody_at_the_port_is_connect_failed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let status = first_trouble(builder(&format!("http://127.0.0.1:{port}"))).await;
    assert_eq!(status.cause, Some(Cause::ConnectFailed));
}

#[tokio::test]
async fn a_connection_that_closes_or_breaks_is_connection_lost() {
    let closing = raw(|socket| async move { drop(socket) }).await;
    let resetting = raw(|mut socket| async move {
        let _ = socket.read(&mut [0; 1]).await;
        // What was not read makes the system reset the connection.
        drop(socket);
    })
    .await;
    let half = answering("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"chan").await;
    let head = answering("HTTP/1.1 200 OK\r\ncontent-le").await;
    let chunk = answering("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"c").await;
    for url in [closing, resetting, half, head, chunk] {
        let status = first_trouble(builder(&url)).await;
        assert_eq!(status.cause, Some(Cause::ConnectionLost));
    }
}

#[tokio::test]
async fn silence_is_response_timeout() {
    let service = Service::start().await;
    service.script(|_| Reply::Hang);
    let status = first_trouble(builder(&service.url).timeouts(quick())).await;
    assert_eq!(status.cause, Some(Cause::ResponseTimeout));
}

#[tokio::test]
async fn answers_over_the_limit_are_not_read_on() {
    let mut limits = Limits::default();
    limits.pull_bytes_max = 2048;
    let announced = Service::start().await;
    announced.script(|_| Reply::Full(full(200, "application/json", vec![b' '; 4096])));
    let status = first_trouble(builder(&announced.url).limits(limits.clone())).await;
    assert_eq!(status.cause, Some(Cause::ResponseTooLarge));

    let endless = raw(|mut socket| async move {
        let _ = socket.read(&mut [0; 4096]).await;
        let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n";
        let _ = socket.write_all(head).await;
        while socket.write_all(&[b' '; 512]).await.is_ok() {}
    })
    .await;
    let status = first_trouble(builder(&endless).limits(limits)).await;
    assert_eq!(status.cause, Some(Cause::ResponseTooLarge));
}

#[tokio::test]
async fn something_that_does_not_speak_for_the_service_is_not_the_service() {
    let garbage = answering("SSH-2.0-OpenSSH_9.9\r\n").await;
    let status = first_trouble(builder(&garbage)).await;
    assert_eq!(status.cause, Some(Cause::NotTheService));

    let portal = Service::start().await;
    portal.script(|_| Reply::Full(full(200, "text/html", "<html>Welcome to our hotel")));
    let status = first_trouble(builder(&portal.url)).await;
    assert_eq!(status.cause, Some(Cause::NotTheService));
}

#[tokio::test]
async fn an_answer_of_another_shape_is_bad_response() {
    for body in [
        "",
        "[]",
        "{\"changes\":[]}",
        "{\"changes\":[{}],\"nextCursor\":1}",
    ] {
        let service = Service::start().await;
        service.script(move |_| Reply::Full(full(200, "application/json", body)));
        let status = first_trouble(builder(&service.url)).await;
        assert_eq!(status.cause, Some(Cause::BadResponse), "{body}");
    }
}

#[tokio::test]
async fn what_the_service_says_comes_through() {
    let service = Service::start().await;
    service.script(|_| Reply::Full(common::unavailable("circuit_open", Some(17))));
    let status = first_trouble(builder(&service.url)).await;
    assert_eq!(status.cause, Some(Cause::CircuitOpen));
    assert_eq!(status.attempt, 1);
    let floor = status.floor_from_server().unwrap();
    let wait = status.next_attempt_in().unwrap();
    assert!(floor > Duration::from_secs(15) && floor <= Duration::from_secs(17));
    assert!(wait >= floor, "{wait:?} {floor:?}");

    let service = Service::start().await;
    service.script(|_| Reply::Full(refusal(403, "DEVICE_REVOKED")));
    let status = first_trouble(builder(&service.url)).await;
    assert_eq!(status.cause, Some(Cause::DeviceRevoked));
    assert_eq!(status.ask, evenkeel::Ask::DeviceRevoked);
}

#[tokio::test]
async fn a_refusal_whose_body_never_ends_keeps_its_floor() {
    let url = raw(|mut socket| async move {
        let _ = socket.read(&mut [0; 4096]).await;
        let head = b"HTTP/1.1 503 No\r\nretry-after: 17\r\ncontent-length: 100\r\n\r\n{";
        let _ = socket.write_all(head).await;
        std::future::pending().await
    })
    .await;
    let begin = std::time::Instant::now();
    let status = first_trouble(builder(&url)).await;
    assert_eq!(status.cause, Some(Cause::ServerError));
    assert!(status.floor_from_server().unwrap() > Duration::from_secs(13));
    assert!(begin.elapsed() < Duration::from_secs(6));
}

#[tokio::test]
async fn interim_answers_are_skipped_and_their_flood_has_an_end() {
    let early = answering(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n\
         HTTP/1.1 503 No\r\nretry-after: 17\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    let status = first_trouble(builder(&early)).await;
    assert_eq!(status.cause, Some(Cause::ServerError));
    let flood = raw(|mut socket| async move {
        let _ = socket.read(&mut [0; 4096]).await;
        while socket
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            .await
            .is_ok()
        {}
    })
    .await;
    let status = first_trouble(builder(&flood).timeouts(quick())).await;
    assert_eq!(status.cause, Some(Cause::ResponseTimeout));
}

#[tokio::test]
async fn headers_without_end_are_given_up() {
    let url = raw(|mut socket| async move {
        let _ = socket.read(&mut [0; 4096]).await;
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while socket.write_all(b"x-more: and more\r\n").await.is_ok() {}
    })
    .await;
    let status = first_trouble(builder(&url)).await;
    assert_eq!(status.cause, Some(Cause::NotTheService));
}

/// Pulls work; the events path answers this.
async fn stream_trouble(
    reply: impl Fn() -> Reply + Send + Sync + 'static,
    limits: Limits,
    timeouts: Timeouts,
) -> Status {
    let service = Service::start().await;
    service.script(move |seen| match seen.path.as_str() {
        "/api/v2/events" => reply(),
        _ => Reply::Healthy,
    });
    let builder = builder(&service.url).limits(limits).timeouts(timeouts);
    first_trouble(builder).await
}

#[tokio::test]
async fn a_stream_of_another_type_is_refused() {
    let reply = || Reply::Full(answer(&json!({"ok": true})));
    let status = stream_trouble(reply, Limits::default(), Timeouts::default()).await;
    assert_eq!(status.cause, Some(Cause::BadResponse));
    let reply = || Reply::Full(full(200, "text/html", "<html>"));
    let status = stream_trouble(reply, Limits::default(), Timeouts::default()).await;
    assert_eq!(status.cause, Some(Cause::NotTheService));
}

#[tokio::test]
async fn a_stream_that_says_too_much_at_once_is_closed() {
    let mut limits = Limits::default();
    limits.event_bytes_max = 1024;
    let reply = || {
        let body = format!("event: ready\n\ndata: {}\n\n", "x".repeat(2000));
        Reply::Full(full(200, "text/event-stream", body))
    };
    let status = stream_trouble(reply, limits, Timeouts::default()).await;
    assert_eq!(status.cause, Some(Cause::ResponseTooLarge));
}

#[tokio::test]
async fn a_stream_that_says_nothing_is_stalled_and_one_without_headers_timed_out() {
    let silent = || {
        let (sender, body) = Channel::<bytes::Bytes, std::io::Error>::new(1);
        // Never says anything, and is never closed.
        std::mem::forget(sender);
        Reply::Full(stream(body.boxed()))
    };
    let status = stream_trouble(silent, Limits::default(), quick()).await;
    assert_eq!(status.cause, Some(Cause::StreamStalled));
    let status = stream_trouble(|| Reply::Hang, Limits::default(), quick()).await;
    assert_eq!(status.cause, Some(Cause::ResponseTimeout));
}

#[tokio::test]
async fn a_stream_that_breaks_is_connection_lost() {
    let service = Service::start().await;
    let client = builder(&service.url).build().unwrap();
    client.start().unwrap();
    common::synced(&client).await;
    service.script(|_| Reply::Hang);
    service.cut_streams(false);
    let status = degraded(&client).await;
    assert_eq!(status.cause, Some(Cause::ConnectionLost));
}
