//! As much of a service as the measured clients need: pages that are ready, pushes that are read and
//! taken, a stream that stays open. On threads of its own, since what is measured has one.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use evenkeel_proto::wire::{Applied, Cursor, PushAnswer, PushRequest, Version};
use tokio::sync::oneshot;

use crate::records::PAGE_CHANGES;

pub struct Service {
    pub url: String,
    state: Arc<State>,
}

struct State {
    pages: Vec<Vec<u8>>,
    shown: AtomicUsize,
    end: Mutex<Option<oneshot::Sender<Instant>>>,
}

impl Service {
    pub fn start(pages: Vec<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(State {
            pages,
            shown: AtomicUsize::new(0),
            end: Mutex::new(None),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&shared);
                // A client that goes away is no news.
                std::thread::spawn(move || drop(state.serve(socket)));
            }
        });
        Self { url, state }
    }

    /// How many of its pages there are from now on.
    pub fn show(&self, pages: usize) {
        self.state.shown.store(pages, Ordering::SeqCst);
    }

    /// When the next request comes for what is after the last page.
    pub fn end(&self) -> oneshot::Receiver<Instant> {
        let (sender, receiver) = oneshot::channel();
        *self.state.end.lock().expect("no panic") = Some(sender);
        receiver
    }
}

impl State {
    fn serve(&self, mut socket: TcpStream) -> io::Result<()> {
        socket.set_nodelay(true)?;
        let mut from = BufReader::new(socket.try_clone()?);
        loop {
            let mut target = String::new();
            if from.read_line(&mut target)? == 0 {
                return Ok(());
            }
            let mut body = vec![0; head(&mut from)?];
            from.read_exact(&mut body)?;
            let target = target.split(' ').nth(1).unwrap_or_default();
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            match path {
                "/api/v2/events/ticket" => {
                    let cookie = "Set-Cookie: pb_stream_ticket=t; Path=/api/v2/events\r\n";
                    answer(&mut socket, cookie, br#"{"ok":true}"#)?;
                }
                "/api/v2/events" => {
                    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
                    let ready = "event: ready\ndata: {\"connectedAt\":1}\n\n";
                    socket.write_all(format!("{head}{ready}").as_bytes())?;
                    // Until the other side closes.
                    from.read_line(&mut String::new())?;
                    return Ok(());
                }
                "/api/v2/sync/pull" => self.pull(&mut socket, query)?,
                "/api/v2/sync/push" => answer(&mut socket, "", &take(&body)?)?,
                _ => return Err(io::ErrorKind::NotFound.into()),
            }
        }
    }

    fn pull(&self, socket: &mut TcpStream, query: &str) -> io::Result<()> {
        let cursor = query.strip_prefix("cursor=").map(str::parse::<u64>);
        let Some(Ok(cursor)) = cursor else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let (n, within) = (cursor / PAGE_CHANGES, cursor % PAGE_CHANGES);
        let shown = self.shown.load(Ordering::SeqCst);
        match self.pages[..shown].get(n as usize) {
            Some(page) if within == 0 => answer(socket, "", page),
            _ => {
                if n as usize == shown
                    && let Some(end) = self.end.lock().expect("no panic").take()
                {
                    // Nobody has to wait for it.
                    let _ = end.send(Instant::now());
                }
                let empty = format!(r#"{{"changes":[],"nextCursor":{cursor}}}"#);
                answer(socket, "", empty.as_bytes())
            }
        }
    }
}

/// Skips a request's head; how long its body is.
fn head(from: &mut BufReader<TcpStream>) -> io::Result<usize> {
    let mut bytes = 0;
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        if line.trim().is_empty() {
            return Ok(bytes);
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            bytes = value.trim().parse().map_err(io::Error::other)?;
        }
    }
}

fn answer(socket: &mut TcpStream, header: &str, body: &[u8]) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{header}Content-Length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes())?;
    socket.write_all(body)
}

/// Takes all of a push.
fn take(body: &[u8]) -> io::Result<Vec<u8>> {
    let request: PushRequest = serde_json::from_slice(body)?;
    let applied = request.operations.into_iter().zip(1..).map(|(op, n)| {
        let version = Version(op.base_version.0 + 1);
        let note = op.note.map(|mut note| {
            note.version = version;
            note
        });
        Applied {
            request_id: op.request_id,
            note,
            cursor: Cursor(n),
        }
    });
    let answer = PushAnswer {
        applied: applied.collect(),
        conflicts: Vec::new(),
        next_cursor: Cursor(0),
    };
    Ok(serde_json::to_vec(&answer)?)
}
