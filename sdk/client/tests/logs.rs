//! Everything logged over a whole outage, by everybody, is searched for what must not be there.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a panic is a test's verdict"
)]

mod common;

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{
    Reply, Service, TICKET, TOKEN, answer, builder, degraded, full, identity, synced, until,
};
use evenkeel::wire::AiProvider;
use evenkeel::{MemoryReplica, ProxySetting, Secret, SyncState, TokenError, TokenReason};
use serde_json::{Map, json};

#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What comes by way of the `log` crate: reqwest, rustls.
impl log::Log for Logged {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {}\n", record.target(), record.args());
        self.0.lock().unwrap().extend_from_slice(line.as_bytes());
    }

    fn flush(&self) {}
}

const CONTENT: &str = "my d1ary entry";
const FRESH: &str = "fr3sh-t0ken-value";
const PROXY_PASSWORD: &str = "pr0xy-passw0rd";
const AI_KEY: &str = "sk-pr0vider-k3y";
const AI_COOKIE: &str = "a1-sess1on-c00kie";

#[tokio::test]
async fn no_token_ticket_cookie_or_content_is_ever_logged() {
    let logged = Logged::default();
    let writer = logged.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    log::set_boxed_logger(Box::new(logged.clone())).unwrap();
    log::set_max_level(log::LevelFilter::Trace);

    for (alpn, in_body) in [
        ("http/1.1", false),
        ("http/1.1", true),
        ("h2", false),
        ("h2", true),
    ] {
        let identity = identity("localhost", alpn.as_bytes());
        let service = Service::start_with(Some(identity.acceptor)).await;
        *service.state.ticket_in_body.lock().unwrap() = in_body;
        outage(&service, &identity.pem).await;
        ai(&service, &identity.pem).await;
    }
    proxied().await;

    let logged = String::from_utf8_lossy(&logged.0.lock().unwrap()).into_owned();
    for expected in [
        "evenkeel",
        "circuit_open",
        "attempt",
        "wait_ms",
        "rustls",
        "reqwest",
        "hyper_util",
        "h2::",
        // Said back by the service, and taken out.
        "for Bearer ***",
        "no route for",
        // The last word is the recovery's.
        "state=\"synced\"",
    ] {
        assert!(logged.contains(expected), "{expected} is not logged");
    }
    let bytes_of = |text: &str| format!("{:?}", text.as_bytes()).replace(['[', ']'], "");
    for secret in [
        TOKEN,
        FRESH,
        TICKET,
        CONTENT,
        PROXY_PASSWORD,
        AI_KEY,
        AI_COOKIE,
    ] {
        for form in [secret.to_owned(), bytes_of(secret)] {
            for line in logged.lines() {
                assert!(!line.contains(&form), "{secret} is in: {line}");
            }
        }
    }
}

/// Healthy, refused, away, and healthy again, with writes both ways.
async fn outage(service: &Service, pem: &str) {
    service.write("theirs", CONTENT);
    let notes = MemoryReplica::new();
    let provider = |reason| async move {
        Ok::<_, TokenError>(match reason {
            TokenReason::Refused => Secret::new(FRESH),
            _ => Secret::new(TOKEN),
        })
    };
    let client = builder(&service.url)
        .replica(notes.clone())
        .token_provider(provider)
        .proxy(ProxySetting::None)
        .extra_root_certificates(pem)
        .build()
        .unwrap();
    client.start().unwrap();
    let mut fields = Map::new();
    fields.insert("content".into(), CONTENT.into());
    notes.put("ours", fields.clone()).unwrap();
    synced(&client).await;

    service.set_token(FRESH);
    service.cut_streams(true);
    until(&client, "reconnecting", |s| s.state != SyncState::Synced).await;
    synced(&client).await;

    // A stream's refusal that says back what came: the URL, as frameworks do, and the cookie.
    service.script(|seen| match seen.path.as_str() {
        "/api/v2/events" => {
            let came = format!("{}?{} {}", seen.path, seen.query, seen.header("cookie"));
            let body = json!({"error": {"code": "X", "message": format!("no route for {came}")}});
            Reply::Full(full(503, "application/json", body.to_string()))
        }
        _ => Reply::Healthy,
    });
    service.cut_streams(false);
    until(&client, "a refused stream", |_| {
        let failures = client.diagnostics().failures;
        failures.iter().any(|f| f.message.contains("no route for"))
    })
    .await;

    // An answer that says the secret back, one that cannot be read, then the circuit.
    let round = AtomicUsize::new(0);
    service.script(move |seen| {
        let echo = format!(
            r#"{{"error":{{"code":"X","message":"for {} {}"}}}}"#,
            seen.header("authorization"),
            seen.header("cookie"),
        );
        Reply::Full(match round.fetch_add(1, Ordering::SeqCst) {
            0 => full(502, "application/json", echo),
            1 => full(200, "application/json", format!("{{\"x\":\"{CONTENT}")),
            _ => common::unavailable("circuit_open", Some(1)),
        })
    });
    notes.put("ours", fields).unwrap();
    client.retry_now();
    degraded(&client).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    client.set_network(evenkeel::Network::Up);
    until(&client, "circuit open", |s| {
        s.cause == Some(evenkeel::Cause::CircuitOpen)
    })
    .await;

    // The service heals, and the client comes back by itself.
    service.heal();
    service.write("theirs", CONTENT);
    let status = synced(&client).await;
    assert_eq!((status.pending, status.cause), (0, None));
    assert_eq!(service.content("ours").unwrap(), CONTENT);
    let diagnostics = client.diagnostics();
    for text in [
        serde_json::to_string(&diagnostics).unwrap(),
        format!("{diagnostics:?} {client:?}"),
    ] {
        for secret in [TOKEN, FRESH, TICKET, CONTENT] {
            assert!(!text.contains(secret), "{secret} is in: {text}");
        }
    }
    client.stop().await;
}

/// A session with an AI provider, whose service says back what came.
async fn ai(service: &Service, pem: &str) {
    let ai = builder(&service.url)
        .proxy(ProxySetting::None)
        .extra_root_certificates(pem)
        .build_ai()
        .unwrap();
    service.script(|_| {
        let mut response = answer(&json!({"connected": true, "provider": "gemini"}));
        let cookie = format!("pb_ai_session={AI_COOKIE}; Path=/; HttpOnly; Max-Age=86400");
        let headers = response.headers_mut();
        headers.insert("set-cookie", cookie.parse().unwrap());
        Reply::Full(response)
    });
    ai.connect(AiProvider::Gemini, Secret::new(AI_KEY))
        .await
        .unwrap();
    assert!(ai.device_session().is_some());
    service.script(|seen| {
        let came = format!(
            "{AI_KEY} {} {}",
            seen.header("cookie"),
            seen.header("authorization")
        );
        let body = json!({"error": {"code": "X", "message": format!("no key like {came}")}});
        Reply::Full(full(400, "application/json", body.to_string()))
    });
    let refused = ai.connect(AiProvider::Gemini, Secret::new(AI_KEY)).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("no key like"), "{refused}");
    service.script(|seen| {
        let came = format!("{} {}", seen.header("cookie"), seen.header("authorization"));
        let body = json!({"error": {"code": "X", "message": format!("no key like {came}")}});
        Reply::Full(full(400, "application/json", body.to_string()))
    });
    let failed = ai.analyze(CONTENT).await.unwrap_err();
    for text in [refused, format!("{failed} {failed:?} {ai:?}")] {
        for secret in [TOKEN, CONTENT, AI_KEY, AI_COOKIE] {
            assert!(!text.contains(secret), "{secret} is in: {text}");
        }
    }
    service.heal();
}

/// A proxy that is not there, with a password.
async fn proxied() {
    let proxy = format!("http://me:{PROXY_PASSWORD}@127.0.0.1:1");
    let client = builder("https://sync.example.com")
        .proxy(ProxySetting::Url(proxy))
        .build()
        .unwrap();
    client.start().unwrap();
    let status = degraded(&client).await;
    assert_eq!(status.cause, Some(evenkeel::Cause::ConnectFailed));
    let diagnostics = serde_json::to_string(&client.diagnostics()).unwrap();
    assert!(!diagnostics.contains(PROXY_PASSWORD));
}
