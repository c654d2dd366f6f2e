//! A small service on a real loopback socket: healthy unless its script says otherwise.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::HashSet;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use evenkeel::{
    Lifecycle, MemoryReplica, Secret, Status, SyncClient, SyncClientBuilder, SyncState, Timeouts,
    TokenError, TokenReason,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::channel::{Channel, Sender};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

pub(crate) type Body = BoxBody<Bytes, io::Error>;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) version: http::Version,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

/// What a script wants instead of the healthy answer.
pub(crate) enum Reply {
    Healthy,
    Full(Response<Body>),
    /// Never.
    Hang,
}

pub(crate) type Script = Box<dyn Fn(&Seen) -> Reply + Send + Sync>;

#[derive(Default)]
pub(crate) struct State {
    pub(crate) seen: Mutex<Vec<Seen>>,
    script: Mutex<Option<Script>>,
    /// The log of changes, and with it the records.
    log: Mutex<Vec<Value>>,
    streams: Mutex<Vec<Sender<Bytes, io::Error>>>,
    tickets: Mutex<HashSet<String>>,
    count: AtomicU64,
    token: Mutex<String>,
    pub(crate) ticket_in_body: Mutex<bool>,
}

pub(crate) struct Service {
    pub(crate) url: String,
    pub(crate) state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) const TOKEN: &str = "t0ken-s3cret-value";
pub(crate) const TICKET: &str = "t1cket-s3cret-value";

impl Service {
    pub(crate) async fn start() -> Self {
        Self::start_with(None).await
    }

    pub(crate) async fn start_with(tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let state = Arc::new(State::default());
        *state.token.lock().unwrap() = TOKEN.into();
        let serving = Arc::clone(&state);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (state, tls) = (Arc::clone(&serving), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => serve(socket, state, false).await,
                        Some(tls) => {
                            if let Ok(socket) = tls.accept(socket).await {
                                let h2 = socket.get_ref().1.alpn_protocol() == Some(b"h2");
                                serve(socket, state, h2).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            url: format!("{scheme}://localhost:{port}"),
            state,
            task,
        }
    }

    pub(crate) fn script(&self, script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) {
        *self.state.script.lock().unwrap() = Some(Box::new(script));
    }

    pub(crate) fn heal(&self) {
        *self.state.script.lock().unwrap() = None;
    }

    pub(crate) fn seen(&self, path: &str) -> Vec<Seen> {
        let seen = self.state.seen.lock().unwrap();
        seen.iter().filter(|s| s.path == path).cloned().collect()
    }

    pub(crate) fn requests(&self) -> usize {
        self.state.seen.lock().unwrap().len()
    }

    /// Another device writes.
    pub(crate) fn write(&self, id: &str, content: &str) {
        self.state.append(id, content, None);
        let cursor = self.state.log.lock().unwrap().len();
        self.emit(&format!("event: sync\ndata: {{\"cursor\":{cursor}}}\n\n"));
    }

    pub(crate) fn emit(&self, text: &str) {
        let mut streams = self.state.streams.lock().unwrap();
        let bytes = Bytes::from(text.to_owned());
        streams.retain_mut(|s| s.try_send(http_body::Frame::data(bytes.clone())).is_ok());
    }

    /// Ends all streams, properly or not.
    pub(crate) fn cut_streams(&self, properly: bool) {
        for stream in self.state.streams.lock().unwrap().drain(..) {
            if !properly {
                stream.abort(io::Error::other("cut"));
            }
        }
    }

    pub(crate) fn set_token(&self, token: &str) {
        *self.state.token.lock().unwrap() = token.into();
    }

    pub(crate) fn content(&self, id: &str) -> Option<String> {
        let log = self.state.log.lock().unwrap();
        let last = log.iter().rev().find(|c| c["note"]["id"] == id)?;
        last["note"]["content"].as_str().map(str::to_owned)
    }
}

impl State {
    fn append(&self, id: &str, content: &str, request_id: Option<&str>) -> Value {
        let mut log = self.log.lock().unwrap();
        let version = log.iter().filter(|c| c["note"]["id"] == id).count() + 1;
        let cursor = log.len() + 1;
        let note = json!({"id": id, "content": content, "version": version,
            "createdAt": 1, "updatedAt": cursor});
        log.push(json!({"cursor": cursor, "op": "upsert", "note": note, "requestId": request_id}));
        json!({"requestId": request_id, "note": note, "cursor": cursor})
    }

    fn version(&self, id: &str) -> u64 {
        let log = self.log.lock().unwrap();
        log.iter().filter(|c| c["note"]["id"] == id).count() as u64
    }

    fn healthy(&self, seen: &Seen) -> Response<Body> {
        let token = format!("Bearer {}", self.token.lock().unwrap());
        let authorized = seen.header("authorization") == token;
        match seen.path.as_str() {
            "/api/v2/events" => self.events(seen),
            _ if !authorized => refusal(401, "AUTH_REQUIRED"),
            "/api/v2/events/ticket" => self.ticket(),
            "/api/v2/sync/pull" => {
                let from: usize = seen.query.strip_prefix("cursor=").unwrap().parse().unwrap();
                let log = self.log.lock().unwrap();
                let page: Vec<_> = log.iter().skip(from).take(500).cloned().collect();
                let next = from + page.len();
                answer(&json!({"changes": page, "nextCursor": next.to_string()}))
            }
            "/api/v2/notes" => {
                let log = self.log.lock().unwrap();
                let notes: Vec<_> = log.iter().map(|c| c["note"].clone()).collect();
                answer(&json!({"notes": notes, "cursor": log.len()}))
            }
            "/api/v2/sync/push" => self.push(&serde_json::from_slice(&seen.body).unwrap()),
            _ => refusal(404, "NOT_FOUND"),
        }
    }

    fn ticket(&self) -> Response<Body> {
        let n = self.count.fetch_add(1, Ordering::SeqCst);
        let ticket = format!("{TICKET}-{n}");
        self.tickets.lock().unwrap().insert(ticket.clone());
        if *self.ticket_in_body.lock().unwrap() {
            return answer(&json!({"ticket": ticket}));
        }
        let mut response = answer(&json!({"ok": true}));
        let cookie = format!("pb_stream_ticket={ticket}; Path=/api/v2/events; Max-Age=60");
        response
            .headers_mut()
            .insert("set-cookie", cookie.parse().unwrap());
        response
    }

    fn events(&self, seen: &Seen) -> Response<Body> {
        let cookie = seen.header("cookie").strip_prefix("pb_stream_ticket=");
        let query = seen.query.strip_prefix("ticket=");
        let ticket = cookie.or(query).unwrap_or_default();
        if !self.tickets.lock().unwrap().remove(ticket) {
            return refusal(401, "STREAM_TICKET_REPLAYED");
        }
        let (mut sender, body) = Channel::new(64);
        let ready = Bytes::from_static(b"event: ready\ndata: {\"connectedAt\":1}\n\n");
        assert!(sender.try_send(http_body::Frame::data(ready)).is_ok());
        self.streams.lock().unwrap().push(sender);
        stream(body.boxed())
    }

    fn push(&self, request: &Value) -> Response<Body> {
        let (mut applied, mut conflicts) = (Vec::new(), Vec::new());
        for operation in request["operations"].as_array().unwrap() {
            let id = operation["noteId"].as_str().unwrap();
            let request_id = operation["requestId"].as_str().unwrap();
            if id.starts_with("skip") {
                continue;
            }
            let version = self.version(id);
            if operation["baseVersion"].as_u64().unwrap() == version {
                let content = operation["note"]["content"].as_str().unwrap_or("");
                applied.push(self.append(id, content, Some(request_id)));
            } else {
                let log = self.log.lock().unwrap();
                let last = log.iter().rev().find(|c| c["note"]["id"] == id).unwrap();
                conflicts.push(json!({"requestId": request_id, "noteId": id,
                    "baseVersion": operation["baseVersion"], "currentVersion": version,
                    "serverNote": last["note"], "changedFields": ["content"]}));
            }
        }
        let next = self.log.lock().unwrap().len();
        answer(&json!({"applied": applied, "conflicts": conflicts, "nextCursor": next}))
    }
}

async fn serve(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    state: Arc<State>,
    h2: bool,
) {
    let service = service_fn(move |request| handle(request, Arc::clone(&state)));
    let io = TokioIo::new(socket);
    if h2 {
        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(io, service)
            .await;
    } else {
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(io, service)
            .await;
    }
}

async fn handle(
    request: Request<Incoming>,
    state: Arc<State>,
) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    let seen = Seen {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body: body.collect().await.unwrap().to_bytes(),
        version: parts.version,
    };
    state.seen.lock().unwrap().push(seen.clone());
    let reply = match &*state.script.lock().unwrap() {
        Some(script) => script(&seen),
        None => Reply::Healthy,
    };
    match reply {
        Reply::Healthy => Ok(state.healthy(&seen)),
        Reply::Full(response) => Ok(response),
        Reply::Hang => std::future::pending().await,
    }
}

/// Who a server of ours is, over this version of HTTP.
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) pem: String,
    pub(crate) acceptor: tokio_rustls::TlsAcceptor,
}

pub(crate) fn identity(name: &str, alpn: &[u8]) -> Identity {
    let made = rcgen::generate_simple_self_signed(vec![name.into()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![alpn.to_vec()];
    Identity {
        certificate: made.cert.der().clone(),
        pem: made.cert.pem(),
        acceptor: Arc::new(config).into(),
    }
}

pub(crate) fn answer(body: &Value) -> Response<Body> {
    full(200, "application/json", body.to_string())
}

pub(crate) fn refusal(status: u16, code: &str) -> Response<Body> {
    let body = json!({"error": {"code": code, "message": "no", "retryable": false}});
    full(status, "application/json", body.to_string())
}

pub(crate) fn unavailable(cause: &str, retry_after_s: Option<u64>) -> Response<Body> {
    let body = json!({"error": {"code": "SERVICE_UNAVAILABLE", "message": "no",
        "retryable": true, "cause": cause}});
    let mut response = full(503, "application/json", body.to_string());
    if let Some(seconds) = retry_after_s {
        let headers = response.headers_mut();
        headers.insert("retry-after", seconds.into());
    }
    response
}

pub(crate) fn full(status: u16, content_type: &str, body: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(body.into()).map_err(|e| match e {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    let content_type = content_type.parse().unwrap();
    response.headers_mut().insert("content-type", content_type);
    response
}

/// A body that is made while it is sent, however large; an error breaks the connection.
pub(crate) fn made(
    chunks: impl Iterator<Item = io::Result<Bytes>> + Send + Sync + Unpin + 'static,
) -> Response<Body> {
    let mut response = Response::new(Chunks(chunks).boxed());
    let content_type = "application/json".parse().unwrap();
    response.headers_mut().insert("content-type", content_type);
    response
}

struct Chunks<I>(I);

impl<I: Iterator<Item = io::Result<Bytes>> + Unpin> http_body::Body for Chunks<I> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<http_body::Frame<Bytes>>>> {
        let chunk = self.0.next();
        Poll::Ready(chunk.map(|chunk| chunk.map(http_body::Frame::data)))
    }
}

pub(crate) fn stream(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let content_type = "text/event-stream".parse().unwrap();
    response.headers_mut().insert("content-type", content_type);
    response
}

/// A client of this service with its replica, quick and repeatable.
pub(crate) fn client(url: &str) -> (SyncClient, MemoryReplica) {
    let notes = MemoryReplica::new();
    let client = builder(url).replica(notes.clone()).build().unwrap();
    (client, notes)
}

pub(crate) fn builder(url: &str) -> SyncClientBuilder {
    let mut timeouts = Timeouts::default();
    timeouts.quiet = Duration::ZERO;
    SyncClient::builder(url)
        .token_provider(|_: TokenReason| async { Ok::<_, TokenError>(Secret::new(TOKEN)) })
        .timeouts(timeouts)
        .seed(7)
}

/// Waits until the status is as wanted; fails after a while.
pub(crate) async fn until(
    client: &SyncClient,
    what: &str,
    wanted: impl Fn(&Status) -> bool,
) -> Status {
    let mut statuses = client.status_changes();
    let waiting = async {
        loop {
            let status = statuses.next().await.expect("the client is gone");
            if wanted(&status) {
                return status;
            }
        }
    };
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(status) => status,
        Err(_) => panic!("never {what}: {:#?}", client.diagnostics()),
    }
}

pub(crate) async fn synced(client: &SyncClient) -> Status {
    let at_work = |s: &Status| s.lifecycle == Lifecycle::Running;
    until(client, "synced", |s| {
        at_work(s) && s.state == SyncState::Synced
    })
    .await
}

pub(crate) async fn degraded(client: &SyncClient) -> Status {
    until(client, "degraded", |s| s.state == SyncState::Degraded).await
}

/// Waits for a condition that has no stream of its own.
pub(crate) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(tokio::time::Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
