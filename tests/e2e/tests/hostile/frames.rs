//! HTTP/2 as nobody should speak it.

use std::sync::Arc;

use bytes::Bytes;
use evenkeel::{Cause, Timeouts};
use h2::Reason;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::scene::{MIB, soon};
use crate::server::{Seen, State};
use crate::tls::{Mode, survive};

mod run {
    crate::scenarios! {
        streams_reset_at_their_start
        streams_reset_in_the_middle
        refused_streams
        a_goaway_for_every_connection
        a_goaway_in_the_middle
        settings_without_an_end
        pings_without_an_end
        headers_without_an_end
        headers_that_unfold
        a_frame_larger_than_agreed
        no_frames_at_all
        an_endless_body_over_http2
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trick {
    ResetFirst,
    ResetLater,
    Refuse,
    GoAway,
    GoAwayLater,
    Settings,
    Pings,
    Continuations,
    Unfolding,
    LargeFrame,
    NoFrames,
    EndlessBody,
}

pub(crate) async fn play<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    trick: Trick,
    socket: S,
    state: Arc<State>,
) {
    match trick {
        Trick::ResetFirst
        | Trick::ResetLater
        | Trick::Refuse
        | Trick::GoAwayLater
        | Trick::EndlessBody => answer(trick, socket, state).await,
        _ => raw(trick, socket).await,
    }
}

/// By the book up to the point where it is not.
async fn answer<S: AsyncRead + AsyncWrite + Unpin>(trick: Trick, socket: S, state: Arc<State>) {
    let Ok(mut connection) = h2::server::handshake(socket).await else {
        return;
    };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        note(&request, &state);
        if trick == Trick::ResetFirst {
            respond.send_reset(Reason::INTERNAL_ERROR);
            continue;
        }
        if trick == Trick::Refuse {
            respond.send_reset(Reason::REFUSED_STREAM);
            continue;
        }
        let head = http::Response::builder()
            .header("content-type", "application/json")
            .body(())
            .unwrap();
        let Ok(mut body) = respond.send_response(head, false) else {
            return;
        };
        let _ = body.send_data(Bytes::from_static(b"{\"changes\":["), false);
        match trick {
            Trick::ResetLater => body.send_reset(Reason::CANCEL),
            Trick::GoAwayLater => connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM),
            _ => {
                tokio::spawn(async move {
                    let chunk = Bytes::from(vec![b'x'; 1 << 16]);
                    loop {
                        body.reserve_capacity(chunk.len());
                        let room = std::future::poll_fn(|cx| body.poll_capacity(cx)).await;
                        let Some(Ok(room)) = room else {
                            return;
                        };
                        if body.send_data(chunk.slice(..room), false).is_err() {
                            return;
                        }
                    }
                });
            }
        }
    }
}

fn note(request: &http::Request<h2::RecvStream>, state: &State) {
    let mut head = String::new();
    for (name, value) in request.headers() {
        head.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
    }
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    state.seen.lock().unwrap().push(Seen {
        path,
        query,
        head,
        ..Seen::default()
    });
}

/// Frames by hand; what the client says is read and forgotten.
async fn raw<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(trick: Trick, socket: S) {
    let (mut reader, mut writer) = tokio::io::split(socket);
    let reading = tokio::spawn(async move {
        let mut room = vec![0; 1 << 16];
        while reader.read(&mut room).await.is_ok_and(|read| read > 0) {}
    });
    let (begin, again) = match trick {
        Trick::NoFrames => (
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_vec(),
            None,
        ),
        Trick::GoAway => {
            let goaway = frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 0xb]);
            ([settings(), goaway.repeat(100)].concat(), None)
        }
        Trick::Settings => {
            // HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE: something to do each time.
            let one = frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 16, 0, 0, 4, 0, 0, 255, 255]);
            (settings(), Some(one.repeat(500)))
        }
        Trick::Pings => (settings(), Some(frame(PING, 0, 0, &[7; 8]).repeat(500))),
        Trick::Continuations => {
            let first = frame(HEADERS, 0, 1, &[0x88]);
            // A literal header: `a: xxx…`, never the last.
            let mut header = vec![0, 1, b'a', 100];
            header.resize(104, b'x');
            let next = frame(CONTINUATION, 0, 1, &header.repeat(100));
            ([settings(), first].concat(), Some(next))
        }
        Trick::Unfolding => {
            // One long header into the table, then thousands of references to it.
            let mut block = vec![0x88, 0x40, 1, b'a', 127, 0x80 + 1, 31];
            block.extend(vec![b'x'; 127 + 1 + 31 * 128]);
            block.extend(vec![0xbe; 10_000]);
            ([settings(), frame(HEADERS, 5, 1, &block)].concat(), None)
        }
        _ => {
            let large = frame(DATA, 0, 1, &vec![b'x'; 1 << 20]);
            ([settings(), large].concat(), None)
        }
    };
    let _ = writer.write_all(&begin).await;
    if let Some(again) = again {
        while writer.write_all(&again).await.is_ok() {}
    }
    let _ = writer.flush().await;
    let _ = reading.await;
}

fn settings() -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[])
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

async fn at_once(trick: Trick, cause: Cause) {
    survive(Mode::Frames(trick), Timeouts::default(), cause, 8 * MIB).await;
}

async fn in_time(trick: Trick, cause: Cause) {
    survive(Mode::Frames(trick), soon(), cause, 8 * MIB).await;
}

async fn streams_reset_at_their_start() {
    at_once(Trick::ResetFirst, Cause::ConnectionLost).await;
}

async fn streams_reset_in_the_middle() {
    at_once(Trick::ResetLater, Cause::ConnectionLost).await;
}

/// "Try that again" is a hint to others: whether and when is the engine's decision.
async fn refused_streams() {
    at_once(Trick::Refuse, Cause::ConnectionLost).await;
}

async fn a_goaway_for_every_connection() {
    at_once(Trick::GoAway, Cause::ConnectionLost).await;
}

async fn a_goaway_in_the_middle() {
    at_once(Trick::GoAwayLater, Cause::ConnectionLost).await;
}

async fn settings_without_an_end() {
    in_time(Trick::Settings, Cause::ResponseTimeout).await;
}

async fn pings_without_an_end() {
    in_time(Trick::Pings, Cause::ResponseTimeout).await;
}

async fn headers_without_an_end() {
    at_once(Trick::Continuations, Cause::ConnectionLost).await;
}

async fn headers_that_unfold() {
    at_once(Trick::Unfolding, Cause::ConnectionLost).await;
}

async fn a_frame_larger_than_agreed() {
    at_once(Trick::LargeFrame, Cause::ConnectionLost).await;
}

async fn no_frames_at_all() {
    at_once(Trick::NoFrames, Cause::ConnectionLost).await;
}

/// In every lane at once: that of a push is kept in memory.
async fn an_endless_body_over_http2() {
    survive(
        Mode::Frames(Trick::EndlessBody),
        Timeouts::default(),
        Cause::ResponseTooLarge,
        100 * MIB,
    )
    .await;
}
