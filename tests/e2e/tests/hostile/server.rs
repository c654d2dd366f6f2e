//! A service of few lines that is healthy unless its script says otherwise, byte by byte where it has
//! to be: no library would send what a hostile server sends.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const TOKEN: &str = "t0ken-s3cret-value";
pub(crate) const TICKET: &str = "t1cket-s3cret-value";

/// A request as it arrived.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) query: String,
    /// Its head and body as they came.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut values = lines.filter(|(n, _)| n.eq_ignore_ascii_case(name));
        values.next().map_or("", |(_, value)| value.trim())
    }
}

/// What a script wants instead of the healthy answer.
#[derive(Clone)]
pub(crate) enum Reply {
    Healthy,
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// These bytes, then nothing: the connection stays.
    Held(Vec<u8>),
    /// These bytes, then those again and again for as long as anybody takes them.
    Endless(Vec<u8>, Vec<u8>),
    /// These bytes, then those so many times, then the end.
    Times(Vec<u8>, Vec<u8>, usize),
    /// The same, but the connection stays.
    TimesHeld(Vec<u8>, Vec<u8>, usize),
}

pub(crate) type Script = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

#[derive(Default)]
pub(crate) struct State {
    pub(crate) seen: Mutex<Vec<Seen>>,
    script: Mutex<Option<Script>>,
    /// The log of changes, and with it the records.
    log: Mutex<Vec<Value>>,
    answered: Mutex<HashMap<String, Value>>,
    tickets: Mutex<HashSet<String>>,
    count: AtomicU64,
    /// Rises when all streams have to end.
    cuts: tokio::sync::watch::Sender<u64>,
    announced: tokio::sync::watch::Sender<u64>,
    /// How many bytes of endless answers were taken.
    pub(crate) taken: AtomicU64,
    pub(crate) connections: AtomicUsize,
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

impl Service {
    pub(crate) async fn start() -> Self {
        Self::serve("http", |socket, state| async move {
            talk(socket, state).await;
        })
        .await
    }

    /// Whatever is done with a connection.
    pub(crate) async fn serve<F: Future<Output = ()> + Send>(
        scheme: &str,
        connection: impl Fn(TcpStream, Arc<State>) -> F + Send + Sync + Clone + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let serving = Arc::clone(&state);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (state, connection) = (Arc::clone(&serving), connection.clone());
                state.connections.fetch_add(1, Ordering::SeqCst);
                connections.spawn(async move { connection(socket, state).await });
            }
        });
        Self {
            url: format!("{scheme}://localhost:{port}"),
            state,
            task,
        }
    }

    pub(crate) fn script(&self, script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) {
        *self.state.script.lock().unwrap() = Some(Arc::new(script));
    }

    /// Answers one path like this.
    pub(crate) fn answer(&self, path: &'static str, reply: Reply) {
        self.script(move |seen| match seen.path == path {
            true => reply.clone(),
            false => Reply::Healthy,
        });
    }

    pub(crate) fn heal(&self) {
        *self.state.script.lock().unwrap() = None;
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    pub(crate) fn requests(&self) -> usize {
        self.state.seen.lock().unwrap().len()
    }

    pub(crate) fn requests_to(&self, path: &str) -> usize {
        let seen = self.state.seen.lock().unwrap();
        seen.iter().filter(|seen| seen.path == path).count()
    }

    /// Another device writes.
    pub(crate) fn write(&self, id: &str, content: &str) {
        self.state.append(id, content, None);
        let cursor = self.state.log.lock().unwrap().len() as u64;
        self.state.announced.send_replace(cursor);
    }

    /// Another device says what is not so.
    pub(crate) fn announce(&self, cursor: u64) {
        self.state.announced.send_replace(cursor);
    }

    /// Ends all streams properly, and connections that nobody uses now.
    pub(crate) fn cut_streams(&self) {
        self.state.cuts.send_modify(|cuts| *cuts += 1);
    }

    pub(crate) fn content(&self, id: &str) -> Option<String> {
        let log = self.state.log.lock().unwrap();
        let last = log.iter().rev().find(|c| c["note"]["id"] == id)?;
        last["note"]["content"].as_str().map(str::to_owned)
    }

    /// How often a record was written.
    pub(crate) fn writings(&self, id: &str) -> u64 {
        self.state.version(id)
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

    pub(crate) fn subscribe_cuts(&self) -> tokio::sync::watch::Receiver<u64> {
        self.cuts.subscribe()
    }

    pub(crate) fn reply(&self, seen: &Seen) -> Reply {
        let script = self.script.lock().unwrap().clone();
        script.map_or(Reply::Healthy, |script| script(seen))
    }

    /// `None` for an event stream.
    pub(crate) fn healthy(&self, seen: &Seen) -> Option<Vec<u8>> {
        let authorized = seen.header("authorization") == format!("Bearer {TOKEN}");
        Some(match seen.path.as_str() {
            EVENTS => {
                let ticket = seen.header("cookie").strip_prefix("pb_stream_ticket=");
                if self.tickets.lock().unwrap().remove(ticket.unwrap_or("")) {
                    return None;
                }
                refusal(401, "STREAM_TICKET_REPLAYED")
            }
            _ if !authorized => refusal(401, "AUTH_REQUIRED"),
            TICKETS => {
                let n = self.count.fetch_add(1, Ordering::SeqCst);
                let ticket = format!("{TICKET}-{n}");
                self.tickets.lock().unwrap().insert(ticket.clone());
                let cookie = format!(
                    "set-cookie: pb_stream_ticket={ticket}; Path=/api/v2/events; Max-Age=60\r\n"
                );
                answer(200, &cookie, r#"{"ok":true}"#)
            }
            PULL => {
                let Ok(from) = seen.query.replace("cursor=", "").parse::<i64>() else {
                    return Some(refusal(400, "BAD_REQUEST"));
                };
                let log = self.log.lock().unwrap();
                let from = usize::try_from(from).unwrap();
                let page: Vec<_> = log.iter().skip(from).take(500).cloned().collect();
                let next = from + page.len();
                good(&json!({"changes": page, "nextCursor": next.to_string()}))
            }
            NOTES => {
                let log = self.log.lock().unwrap();
                let mut notes = HashMap::new();
                for change in log.iter() {
                    notes.insert(change["note"]["id"].to_string(), change["note"].clone());
                }
                let notes: Vec<_> = notes.into_values().collect();
                good(&json!({"notes": notes, "cursor": log.len()}))
            }
            PUSH => self.push(&serde_json::from_slice(&seen.body).unwrap()),
            _ => refusal(404, "NOT_FOUND"),
        })
    }

    fn push(&self, request: &Value) -> Vec<u8> {
        let (mut applied, mut conflicts) = (Vec::new(), Vec::new());
        for operation in request["operations"].as_array().unwrap() {
            let id = operation["noteId"].as_str().unwrap();
            let request_id = operation["requestId"].as_str().unwrap();
            let known = self.answered.lock().unwrap().get(request_id).cloned();
            if let Some(known) = known {
                applied.push(known);
                continue;
            }
            let version = self.version(id);
            if operation["baseVersion"].as_u64().unwrap() == version {
                let content = operation["note"]["content"].as_str().unwrap_or("");
                let told = self.append(id, content, Some(request_id));
                let mut answered = self.answered.lock().unwrap();
                answered.insert(request_id.to_owned(), told.clone());
                applied.push(told);
            } else {
                let log = self.log.lock().unwrap();
                let last = log.iter().rev().find(|c| c["note"]["id"] == id);
                conflicts.push(json!({"requestId": request_id, "noteId": id,
                    "baseVersion": operation["baseVersion"], "currentVersion": version,
                    "serverNote": last.map(|l| &l["note"]), "changedFields": ["content"]}));
            }
        }
        let next = self.log.lock().unwrap().len();
        good(&json!({"applied": applied, "conflicts": conflicts, "nextCursor": next}))
    }
}

/// HTTP/1.1 on one connection.
pub(crate) async fn talk(mut socket: impl AsyncRead + AsyncWrite + Unpin, state: Arc<State>) {
    let mut cuts = state.cuts.subscribe();
    loop {
        let seen = tokio::select! {
            seen = request(&mut socket) => seen,
            _ = cuts.changed() => None,
        };
        let Some(seen) = seen else {
            return;
        };
        state.seen.lock().unwrap().push(seen.clone());
        let reply = state.reply(&seen);
        let held = matches!(reply, Reply::TimesHeld(..));
        let more = match reply {
            Reply::Healthy => match state.healthy(&seen) {
                Some(bytes) => socket.write_all(&bytes).await.is_ok(),
                None => {
                    stream(&mut socket, &state).await;
                    false
                }
            },
            Reply::Bytes(bytes) => {
                let _ = socket.write_all(&bytes).await;
                false
            }
            Reply::Held(bytes) => {
                if socket.write_all(&bytes).await.is_ok() {
                    // Until the other side has enough of it.
                    let _ = socket.read(&mut [0; 64]).await;
                }
                false
            }
            Reply::Endless(head, again) => {
                let _ = socket.write_all(&head).await;
                while socket.write_all(&again).await.is_ok() {
                    state.taken.fetch_add(again.len() as u64, Ordering::SeqCst);
                }
                false
            }
            Reply::Times(head, again, times) | Reply::TimesHeld(head, again, times) => {
                let _ = socket.write_all(&head).await;
                for _ in 0..times {
                    if socket.write_all(&again).await.is_err() {
                        return;
                    }
                    state.taken.fetch_add(again.len() as u64, Ordering::SeqCst);
                }
                if held {
                    let _ = socket.read(&mut [0; 64]).await;
                }
                false
            }
        };
        if !more {
            let _ = socket.shutdown().await;
            return;
        }
    }
}

async fn request(socket: &mut (impl AsyncRead + Unpin)) -> Option<Seen> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
    let target = text.split(' ').nth(1)?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut seen = Seen {
        path: path.to_owned(),
        query: query.to_owned(),
        head: text.clone(),
        body: bytes[head..].to_vec(),
    };
    let length = seen.header("content-length").parse().unwrap_or(0);
    while seen.body.len() < length {
        if socket.read_buf(&mut seen.body).await.ok()? == 0 {
            return None;
        }
    }
    Some(seen)
}

async fn stream(socket: &mut (impl AsyncRead + AsyncWrite + Unpin), state: &State) {
    let (mut cuts, mut announced) = (state.cuts.subscribe(), state.announced.subscribe());
    let mut text = format!("{}{READY}", stream_head(""));
    loop {
        if socket.write_all(text.as_bytes()).await.is_err() {
            return;
        }
        tokio::select! {
            _ = cuts.changed() => return,
            gone = socket.read_u8() => return drop(gone),
            _ = announced.changed() => {
                let cursor = *announced.borrow_and_update();
                text = format!("event: sync\ndata: {{\"cursor\":{cursor}}}\n\n");
            }
            () = tokio::time::sleep(Duration::from_secs(15)) => {
                text = "event: heartbeat\ndata: {\"ts\":1}\n\n".into();
            }
        }
    }
}

pub(crate) fn good(body: &Value) -> Vec<u8> {
    answer(200, "", body.to_string())
}

pub(crate) fn refusal(status: u16, code: &str) -> Vec<u8> {
    let body = json!({"error": {"code": code, "message": "no", "retryable": false}});
    answer(status, "", body.to_string())
}

/// `headers` end with a line's end, where there are any.
pub(crate) fn answer(status: u16, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let length = body.len();
    let mut bytes = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n"
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// The head of an answer whose body ends with the connection.
pub(crate) fn head(status: u16, headers: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{headers}\r\n").into_bytes()
}

pub(crate) fn stream_head(headers: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{headers}\r\n")
}

pub(crate) const TICKETS: &str = "/api/v2/events/ticket";
pub(crate) const EVENTS: &str = "/api/v2/events";
pub(crate) const PULL: &str = "/api/v2/sync/pull";
pub(crate) const NOTES: &str = "/api/v2/notes";
pub(crate) const PUSH: &str = "/api/v2/sync/push";
pub(crate) const LANES: [&str; 5] = [TICKETS, EVENTS, PULL, NOTES, PUSH];
pub(crate) const READY: &str = "event: ready\ndata: {\"connectedAt\":1}\n\n";
