//! A plain HTTP client for the scenarios: it knows nothing of the service but its addresses.

#![allow(unreachable_pub, reason = "a module of each test, not an interface")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails")]
#![allow(dead_code, reason = "each scenario uses its own part of this")]

use std::time::Duration;

use evenkeel_proto::wire::{
    AI_SESSION_COOKIE, AiAnswer, AiSession, Analysis, EdgeMetrics, ErrorEnvelope, PullPage,
    PushAnswer, ServiceError, SetCookie,
};
use evenkeel_stack::{Settings, Stack};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

/// Longer than anything here should take.
pub const BOUND: Duration = Duration::from_secs(10);

/// A device of a user, behind one address.
#[derive(Clone)]
pub struct Device {
    pub http: Client,
    pub url: String,
    pub token: String,
    pub id: String,
}

impl Device {
    pub fn at(url: &str) -> Self {
        Self {
            // No pool: a test that breaks connections must not meet the last test's broken ones.
            http: client(),
            url: url.to_owned(),
            token: "demo-token".to_owned(),
            id: uuid::Uuid::new_v4().to_string(),
        }
    }

    pub fn edge(stack: &Stack) -> Self {
        match stack.ca() {
            None => Self::at(stack.edge_url()),
            Some(ca) => Self {
                http: trusting(ca, false),
                ..Self::at(stack.edge_url())
            },
        }
    }

    pub fn direct(stack: &Stack) -> Self {
        Self::at(stack.origin_url())
    }

    pub fn with(&self, request: RequestBuilder) -> RequestBuilder {
        request
            .bearer_auth(&self.token)
            .header("x-device-id", &self.id)
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.with(self.http.get(format!("{}{path}", self.url)))
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.with(self.http.post(format!("{}{path}", self.url)))
    }

    pub async fn send(&self, request: RequestBuilder) -> Response {
        within(request.send()).await.unwrap()
    }

    pub async fn try_pull(&self, cursor: u64) -> reqwest::Result<Response> {
        within(
            self.get(&format!("/api/v2/sync/pull?cursor={cursor}"))
                .send(),
        )
        .await
    }

    pub async fn pull(&self, cursor: u64) -> PullPage {
        let response = self.try_pull(cursor).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        response.json().await.unwrap()
    }

    pub async fn push(&self, operations: Value) -> Response {
        let body = json!({ "operations": operations });
        self.send(self.post("/api/v2/sync/push").json(&body)).await
    }

    pub async fn pushed(&self, operations: Value) -> PushAnswer {
        let response = self.push(operations).await;
        assert_eq!(response.status(), StatusCode::OK);
        response.json().await.unwrap()
    }

    pub async fn write(&self, id: &str, base_version: u64, content: &str) -> PushAnswer {
        self.pushed(json!([upsert(id, base_version, content)]))
            .await
    }

    /// The value of a new ticket's cookie.
    pub async fn ticket(&self) -> String {
        let response = self.send(self.post("/api/v2/events/ticket")).await;
        assert_eq!(response.status(), StatusCode::OK);
        let cookie = response.headers()["set-cookie"].to_str().unwrap();
        let value = cookie.split(';').next().unwrap();
        value.strip_prefix("pb_stream_ticket=").unwrap().to_owned()
    }

    pub async fn open(&self, ticket: &str) -> reqwest::Result<Response> {
        let request = self
            .http
            .get(format!("{}/api/v2/events", self.url))
            .header("cookie", format!("other=1; pb_stream_ticket={ticket}"));
        within(request.send()).await
    }

    /// A new stream with a new ticket.
    pub async fn stream(&self) -> Events {
        let ticket = self.ticket().await;
        let response = self.open(&ticket).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        Events::of(response)
    }
}

/// The events of one stream.
pub struct Events {
    pub response: Response,
    text: String,
}

impl Events {
    pub fn of(response: Response) -> Self {
        let kind = response.headers()["content-type"].to_str().unwrap();
        assert!(kind.starts_with("text/event-stream"), "{kind}");
        Self {
            response,
            text: String::new(),
        }
    }

    /// The next event's name and data; `None` at a clean end, an error where the connection broke.
    pub async fn try_next(&mut self) -> reqwest::Result<Option<(String, Value)>> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let mut name = String::new();
                let mut data = Value::Null;
                for line in event.lines() {
                    if let Some(text) = line.strip_prefix("event: ") {
                        text.clone_into(&mut name);
                    } else if let Some(text) = line.strip_prefix("data: ") {
                        data = serde_json::from_str(text).unwrap();
                    }
                }
                self.text = rest.to_owned();
                return Ok(Some((name, data)));
            }
            match self.response.chunk().await? {
                Some(chunk) => self.text.push_str(std::str::from_utf8(&chunk).unwrap()),
                None => return Ok(None),
            }
        }
    }

    pub async fn next(&mut self) -> (String, Value) {
        within(self.try_next())
            .await
            .expect("the stream broke")
            .expect("the stream ended")
    }

    /// The next event of this name, which must be the next event.
    pub async fn expect(&mut self, wanted: &str) -> Value {
        let (name, data) = self.next().await;
        assert_eq!(name, wanted, "{data}");
        data
    }

    /// Nothing at all comes for a while.
    pub async fn expect_silence(&mut self, how_long: Duration) {
        let heard = tokio::time::timeout(how_long, self.try_next()).await;
        assert!(heard.is_err(), "{heard:?}");
    }
}

pub fn upsert(id: &str, base_version: u64, content: &str) -> Value {
    json!({
        "requestId": uuid::Uuid::new_v4().to_string(),
        "op": "upsert",
        "noteId": id,
        "baseVersion": base_version,
        "note": {
            "id": id, "version": base_version, "createdAt": 1, "updatedAt": 2, "content": content
        }
    })
}

/// A stack with shortened windows.
pub async fn start(changes: &[(&str, &str)]) -> Stack {
    let settings = short(changes);
    Stack::builder().settings(settings).start().await.unwrap()
}

/// Shortened windows, and changes on top.
pub fn short(changes: &[(&str, &str)]) -> Settings {
    let mut settings = Settings::default();
    for (name, value) in [
        ("proxy_timeout_ms", "300"),
        ("proxy_retry_backoff_ms", "10"),
        ("circuit_open_ms", "1000"),
    ]
    .iter()
    .chain(changes)
    {
        settings.set(name, value).unwrap();
    }
    settings
}

/// The refusal in an answer, with its status and `Retry-After`.
pub async fn refusal(response: Response) -> (u16, Option<u64>, ServiceError) {
    let status = response.status().as_u16();
    let retry_after = response.headers().get("retry-after");
    let retry_after = retry_after.map(|v| v.to_str().unwrap().parse().unwrap());
    match response.json().await.unwrap() {
        ErrorEnvelope::Service { error } => (status, retry_after, error),
        other => panic!("not the contract's envelope: {other:?}"),
    }
}

/// Checks one row of the contract's table.
pub async fn expect_refusal(
    response: Response,
    status: u16,
    code: &str,
    cause: Option<&str>,
) -> Option<u64> {
    let (got, retry_after, error) = refusal(response).await;
    assert_eq!(
        (got, error.code.as_deref(), error.cause.as_deref()),
        (status, Some(code), cause)
    );
    let hint = error.retry_after_seconds.map(|s| s as u64);
    assert_eq!(hint, retry_after);
    retry_after
}

/// Bounds a wait.
pub async fn within<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, wait).await.expect("too slow")
}

/// Waits for something that is about to become true.
pub async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    within(async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Built in one workspace with the SDK, reqwest wants a TLS provider even for plain HTTP.
fn client() -> Client {
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    // The system's roots are read from files each time, and plain HTTP needs none.
    let builder = Client::builder().tls_certs_only([]);
    builder.pool_max_idle_per_host(0).build().unwrap()
}

/// A client that trusts only this root, over HTTP/2 where the other side speaks it, or never.
pub fn trusting(ca: &std::path::Path, http1_only: bool) -> Client {
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    let root = reqwest::Certificate::from_pem(&std::fs::read(ca).unwrap()).unwrap();
    let builder = Client::builder().tls_certs_only([root]);
    let builder = match http1_only {
        true => builder.http1_only(),
        false => builder,
    };
    builder.build().unwrap()
}

/// The edge's counters.
pub async fn edge_metrics(stack: &Stack) -> EdgeMetrics {
    let device = Device::edge(stack);
    let response = device.send(device.get("/api/v1/metrics")).await;
    assert_eq!(response.status(), StatusCode::OK);
    response.json().await.unwrap()
}

/// Somebody who uses AI: with a token as an account, without as a device.
#[derive(Clone)]
pub struct Visitor {
    pub device: Device,
    pub signed_in: bool,
    pub cookie: Option<String>,
}

impl Visitor {
    /// Of the account of the default token.
    pub fn account(stack: &Stack) -> Self {
        Self {
            device: Device::edge(stack),
            signed_in: true,
            cookie: None,
        }
    }

    /// Of a device alone.
    pub fn device(stack: &Stack) -> Self {
        Self {
            device: Device::edge(stack),
            ..Self::at(stack.edge_url())
        }
    }

    /// The same, at any edge.
    pub fn at(url: &str) -> Self {
        Self {
            device: Device::at(url),
            signed_in: false,
            cookie: None,
        }
    }

    /// The same, connected with one provider.
    pub async fn connected(mut self, provider: &str) -> Self {
        let response = self.connect(provider, "sk-user-7").await;
        assert_eq!(response.status(), StatusCode::OK);
        self
    }

    pub async fn request(&self, request: RequestBuilder) -> Response {
        let mut request = request.header("x-device-id", &self.device.id);
        if self.signed_in {
            request = request.bearer_auth(&self.device.token);
        }
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", format!("a=b; pb_ai_session={cookie}"));
        }
        self.device.send(request).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Response {
        let url = format!("{}{path}", self.device.url);
        self.request(self.device.http.post(url).json(&body)).await
    }

    /// Connects and keeps the cookie.
    pub async fn connect(&mut self, provider: &str, key: &str) -> Response {
        let body = json!({ "provider": provider, "apiKey": key });
        let response = self.post("/api/v1/auth/connect", body).await;
        if let Some(cookie) = SetCookie::find(response.headers(), AI_SESSION_COOKIE) {
            self.cookie = Some(cookie.value.expose().to_owned());
        }
        response
    }

    pub async fn status(&self) -> AiSession {
        let url = format!("{}/api/v1/auth/status", self.device.url);
        let response = self.request(self.device.http.get(url)).await;
        assert_eq!(response.status(), StatusCode::OK);
        response.json().await.unwrap()
    }

    pub async fn analyze(&self) -> Response {
        let body = json!({ "content": "todo: water #plants" });
        self.post("/api/v1/ai/analyze", body).await
    }

    /// One that has to work.
    pub async fn works(&self) {
        let response = self.analyze().await;
        assert_eq!(response.status(), StatusCode::OK);
        let answer: AiAnswer<Analysis> = response.json().await.unwrap();
        assert_eq!(answer.result.title, "todo: water #plants");
    }
}
