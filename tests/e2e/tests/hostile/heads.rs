//! Heads that never end, and answers that are none of the service's.

use evenkeel::Cause;

use crate::scene::{MIB, every_case, every_lane, every_lane_soon};
use crate::server::{EVENTS, LANES, NOTES, PULL, PUSH, Reply, TICKETS, answer, head, stream_head};

mod run {
    crate::scenarios! {
        endless_headers
        one_endless_header
        an_endless_status_line
        provisional_answers_for_ever
        ten_thousand_cookies
        pages_for_people
        wrong_content_types
        strange_statuses
        lengths_that_lie
        broken_chunks
        no_http_at_all
        silence
    }
}

async fn endless_headers() {
    every_lane(&LANES, 6 * MIB, |_| {
        let line = b"x-more: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n".repeat(100);
        let begin = b"HTTP/1.1 200 OK\r\n".to_vec();
        (Reply::Endless(begin, line), Cause::NotTheService)
    })
    .await;
}

async fn one_endless_header() {
    every_lane(&LANES, 6 * MIB, |_| {
        let begin = b"HTTP/1.1 200 OK\r\nx-long: ".to_vec();
        (
            Reply::Endless(begin, vec![b'x'; MIB / 16]),
            Cause::NotTheService,
        )
    })
    .await;
}

async fn an_endless_status_line() {
    every_lane(&[TICKETS, PULL], 6 * MIB, |_| {
        let begin = b"HTTP/1.1 200 ".to_vec();
        (
            Reply::Endless(begin, vec![b'x'; MIB / 16]),
            Cause::NotTheService,
        )
    })
    .await;
}

/// `100 Continue` is not an answer, however often it comes.
async fn provisional_answers_for_ever() {
    every_lane_soon(&[TICKETS, PULL, PUSH], 6 * MIB, |_| {
        let again = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100);
        (Reply::Endless(Vec::new(), again), Cause::ResponseTimeout)
    })
    .await;
}

async fn ten_thousand_cookies() {
    every_lane(&[TICKETS, PULL], 6 * MIB, |_| {
        let cookies = "set-cookie: pb_stream_ticket=3vil-c00kie-value\r\n".repeat(10_000);
        (
            Reply::Bytes(answer(200, &cookies, "{}")),
            Cause::NotTheService,
        )
    })
    .await;
}

async fn pages_for_people() {
    every_lane(&LANES, 4 * MIB, |_| {
        let page = "<!doctype html><title>Sign in to this network</title>";
        let page = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n{page}",
            page.len()
        );
        (Reply::Bytes(page.into()), Cause::NotTheService)
    })
    .await;
}

async fn wrong_content_types() {
    every_lane(&LANES, 4 * MIB, |lane| {
        let text = "HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 4\r\n\r\n\x01PNG";
        let not_a_stream =
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
        let text = if lane == EVENTS { not_a_stream } else { text };
        (Reply::Bytes(text.into()), Cause::BadResponse)
    })
    .await;
}

async fn strange_statuses() {
    let bare = |status: &str| Reply::Bytes(format!("HTTP/1.1 {status}\r\n\r\n").into_bytes());
    let mut cases = vec![(PULL, bare("42 Low"), Cause::NotTheService)];
    for (status, cause) in [
        ("204 No Content", Cause::BadResponse),
        ("304 Not Modified", Cause::BadResponse),
        ("999 Beyond", Cause::ServerError),
        ("600 Six", Cause::ServerError),
        (
            "101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: evil",
            Cause::BadResponse,
        ),
    ] {
        let lanes = [TICKETS, EVENTS, PULL, PUSH];
        cases.extend(lanes.map(|lane| (lane, bare(status), cause)));
    }
    every_case(8 * MIB, cases).await;
}

async fn lengths_that_lie() {
    // Longer than it is, and ended; longer than it is, and held; shorter than it is.
    every_lane(&[TICKETS, PULL, NOTES, PUSH], 4 * MIB, |_| {
        let bytes = [head(200, "content-length: 900\r\n"), b"{\"cha".to_vec()].concat();
        (Reply::Bytes(bytes), Cause::ConnectionLost)
    })
    .await;
    every_lane_soon(&[TICKETS, PULL, PUSH], 4 * MIB, |_| {
        let bytes = [head(200, "content-length: 900\r\n"), b"{\"cha".to_vec()].concat();
        (Reply::Held(bytes), Cause::ResponseTimeout)
    })
    .await;
    every_lane(&[TICKETS, PULL, NOTES, PUSH], 4 * MIB, |_| {
        let bytes = [
            head(200, "content-length: 5\r\n"),
            b"{\"changes\":[]}".to_vec(),
        ]
        .concat();
        (Reply::Bytes(bytes), Cause::BadResponse)
    })
    .await;
    every_lane(&[TICKETS, PULL, NOTES, PUSH], 4 * MIB, |_| {
        (
            Reply::Bytes(head(200, "content-length: 99999999999\r\n")),
            Cause::ResponseTooLarge,
        )
    })
    .await;
    every_lane(&[PULL, PUSH], 4 * MIB, |_| {
        let two = head(200, "content-length: 5\r\ncontent-length: 7\r\n");
        (Reply::Bytes(two), Cause::NotTheService)
    })
    .await;
}

async fn broken_chunks() {
    let chunked = |chunks: &str| {
        let head = head(200, "transfer-encoding: chunked\r\n");
        [head, chunks.into()].concat()
    };
    let mut cases = Vec::new();
    for chunks in [
        "zzz\r\n{}",
        "ffffffffffffffffffff\r\n{",
        "2\r\n{}xx\r\n0\r\n\r\n",
        "-1\r\n{}",
    ] {
        let lanes = [TICKETS, PULL, PUSH];
        let reply = Reply::Bytes(chunked(chunks));
        cases.extend(lanes.map(|lane| (lane, reply.clone(), Cause::ConnectionLost)));
    }
    // Extensions and trailers without an end.
    for begin in ["2;x=", "0\r\nx: "] {
        let reply = Reply::Endless(chunked(begin), vec![b'x'; MIB / 16]);
        cases.push((PULL, reply, Cause::ConnectionLost));
    }
    let stream = stream_head("transfer-encoding: chunked\r\n");
    let reply = Reply::Bytes(format!("{stream}zzz\r\n").into());
    cases.push((EVENTS, reply, Cause::ConnectionLost));
    every_case(8 * MIB, cases).await;
}

async fn no_http_at_all() {
    every_lane(&LANES, 4 * MIB, |_| {
        (
            Reply::Bytes(b"220 mail.example ESMTP\r\n".to_vec()),
            Cause::NotTheService,
        )
    })
    .await;
}

async fn silence() {
    every_lane_soon(&LANES, 4 * MIB, |_| {
        (Reply::Held(Vec::new()), Cause::ResponseTimeout)
    })
    .await;
    every_lane_soon(&[EVENTS], 4 * MIB, |_| {
        (Reply::Held(stream_head("").into()), Cause::StreamStalled)
    })
    .await;
    every_lane(&LANES, 4 * MIB, |_| {
        (Reply::Bytes(Vec::new()), Cause::ConnectionLost)
    })
    .await;
}
