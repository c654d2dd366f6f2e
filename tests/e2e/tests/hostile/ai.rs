//! The AI client before the same hostilities, in short: typed, bounded, discreet, and well again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use evenkeel::wire::AiProvider;
use evenkeel::{AiClient, AiError, AiStatus, Cause, ProxySetting, Secret, SyncClient};

use crate::scene::{EVIL, MIB, Measure, unheard};
use crate::server::{Reply, Service, TOKEN, answer, head, stream_head};

mod run {
    crate::scenarios! {
        answers_of_the_ai_that_are_none
        redirects_of_the_ai_are_not_followed
        what_the_ai_is_told_is_not_told_on
    }
}

const ANALYZE: &str = "/api/v1/ai/analyze";
const CONNECT: &str = "/api/v1/auth/connect";
const COOKIE: &str = "a1-sess1on-c00kie";
const KEY: &str = "sk-pr0vider-k3y";

/// A client with a session of this device.
async fn connected() -> (Service, AiClient) {
    let service = Service::start().await;
    let ai = SyncClient::builder(&service.url)
        .proxy(ProxySetting::None)
        .seed(7)
        .build_ai()
        .unwrap();
    heal(&service);
    ai.connect(AiProvider::Gemini, Secret::new(KEY))
        .await
        .unwrap();
    (service, ai)
}

fn heal(service: &Service) {
    service.script(|seen| match seen.path.as_str() {
        CONNECT => {
            let cookie = format!("set-cookie: pb_ai_session={COOKIE}; Path=/; Max-Age=86400\r\n");
            Reply::Bytes(answer(
                200,
                &cookie,
                r#"{"connected":true,"provider":"gemini"}"#,
            ))
        }
        _ => Reply::Bytes(answer(200, "", r#"{"result":{"title":"t"}}"#)),
    });
}

/// One call against this answer.
async fn meet(reply: Reply, cause: Cause) {
    let (service, ai) = connected().await;
    let measure = Measure::begin();
    service.script(move |_| reply.clone());
    let before = service.requests();
    let soon = ai.with_deadline(Duration::from_secs(3));
    let begun = Instant::now();
    let error = soon.analyze("x").await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(5));
    let AiError::Failed { failure, attempts } = error else {
        panic!("{cause}: {error:?}");
    };
    assert_eq!(failure.cause, cause, "{failure:?}");
    assert!(attempts <= 3 && service.requests() - before <= 3);
    assert!(failure.retry_after.unwrap_or_default() <= Duration::from_secs(900));
    measure.end(16 * MIB);
    if failure.retry_after > Some(Duration::from_secs(10)) {
        return;
    }
    heal(&service);
    let well = async {
        while ai
            .with_deadline(Duration::from_secs(20))
            .analyze("x")
            .await
            .is_err()
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(25), well)
        .await
        .unwrap();
    assert_eq!(ai.status(), AiStatus::Available);
}

async fn answers_of_the_ai_that_are_none() {
    let deep = format!(
        "{{\"result\":{}{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let tiny = br#"{"result":{"tags":["#.to_vec();
    let long_line = b"HTTP/1.1 200 OK\r\nx: ".to_vec();
    for (reply, cause) in [
        (
            Reply::Endless(head(200, ""), vec![b'x'; MIB / 4]),
            Cause::ResponseTooLarge,
        ),
        (
            Reply::Endless(long_line, vec![b'x'; MIB / 16]),
            Cause::NotTheService,
        ),
        (
            Reply::Times(
                [head(200, ""), tiny].concat(),
                br#""","#.repeat(1 << 15),
                40,
            ),
            Cause::ResponseTooLarge,
        ),
        (Reply::Bytes(answer(200, "", deep)), Cause::BadResponse),
        (
            Reply::Bytes(answer(
                200,
                "content-encoding: gzip\r\n",
                include_bytes!("bomb.gz"),
            )),
            Cause::BadResponse,
        ),
        (Reply::Bytes(stream_head("").into()), Cause::BadResponse),
        (
            Reply::Bytes(answer(503, "retry-after: 999999999\r\n", "{}")),
            Cause::ServerError,
        ),
        (Reply::Bytes(answer(204, "", "")), Cause::BadResponse),
        (Reply::Bytes(b"220 mail\r\n".to_vec()), Cause::NotTheService),
        (
            Reply::Held(head(200, "content-length: 10\r\n")),
            Cause::ResponseTimeout,
        ),
    ] {
        meet(reply, cause).await;
    }
}

async fn redirects_of_the_ai_are_not_followed() {
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = Service::start().await;
        let to = format!("location: {}{ANALYZE}\r\n", elsewhere.url);
        meet(Reply::Bytes(answer(status, &to, "{}")), Cause::Redirected).await;
        let connections = &elsewhere.state.connections;
        assert_eq!(connections.load(std::sync::atomic::Ordering::SeqCst), 0);
    }
}

/// Cookies for other places are not sent, and what is said back is not told.
async fn what_the_ai_is_told_is_not_told_on() {
    let (service, ai) = connected().await;
    let said = Arc::new(std::sync::Mutex::new(Vec::new()));
    service.script(|seen| {
        let back = format!(
            "{} {}",
            seen.header("cookie"),
            String::from_utf8_lossy(&seen.body)
        );
        let body = serde_json::json!({"error": {"code": back, "message": back}});
        let evil = format!(
            "set-cookie: pb_ai_session={EVIL}; Path=/other\r\nset-cookie: other={EVIL}; Path=/\r\n"
        );
        Reply::Bytes(answer(400, &evil, body.to_string()))
    });
    for _ in 0..2 {
        let error = ai.analyze("x").await.unwrap_err();
        said.lock().unwrap().push(format!("{error:?} {error}"));
    }
    let error = ai
        .connect(AiProvider::Gemini, Secret::new(KEY))
        .await
        .unwrap_err();
    said.lock().unwrap().push(format!("{error:?} {error}"));
    assert_eq!(ai.device_session().unwrap().expose(), COOKIE);
    for seen in service.seen() {
        assert!(!seen.head.contains(EVIL), "{}", seen.head);
    }
    let said = said.lock().unwrap().join("\n");
    for secret in [COOKIE, KEY, EVIL, TOKEN] {
        assert!(!said.contains(secret), "{secret}: {said}");
        unheard(secret);
    }
}
