//! Token, ticket, cookies and device id: what a server has to do to get at them, and does not.

use std::sync::atomic::Ordering;

use evenkeel::{Cause, SyncState};

use crate::scene::{EVIL, MIB, Scene};
use crate::server::{EVENTS, LANES, NOTES, PULL, PUSH, Reply, Seen, TICKETS, answer, good};

mod run {
    crate::scenarios! {
        redirects_are_not_followed
        cookies_for_others_are_not_kept
        a_huge_ticket_is_no_ticket
        of_two_tickets_one_is_used
        secrets_that_are_said_back_are_not_told
    }
}

async fn redirects_are_not_followed() {
    let statuses = [301, 302, 303, 307, 308];
    let rotated = LANES.iter().zip(statuses);
    let writes = [(&PUSH, 307), (&PUSH, 301), (&TICKETS, 307), (&TICKETS, 308)];
    for (lane, status) in rotated.chain(writes) {
        let scene = Scene::start().await;
        let to = format!("location: {}{lane}?again=1\r\n", scene.elsewhere.url);
        let reply = Reply::Bytes(answer(status, &to, "{}"));
        scene.meet(lane, reply, Cause::Redirected).await;
        let elsewhere = &scene.elsewhere.state;
        assert_eq!(
            elsewhere.connections.load(Ordering::SeqCst),
            0,
            "{status} {lane}"
        );
        scene.write().await;
        scene.recover().await;
        scene.finish(4 * MIB, 40).await;
    }
}

/// What a browser would keep for another path, host or name is not even kept for this one.
async fn cookies_for_others_are_not_kept() {
    let scene = Scene::start().await;
    let state = std::sync::Arc::clone(&scene.service.state);
    scene.service.script(move |seen| {
        let evil = [
            format!("set-cookie: pb_stream_ticket={EVIL}; Path=/api/v1/ai; Max-Age=60\r\n"),
            format!("set-cookie: pb_stream_ticket={EVIL}; Path=/api/v2/events2; Max-Age=60\r\n"),
            format!("set-cookie: pb_ai_session={EVIL}; Path=/; Max-Age=86400\r\n"),
            format!("set-cookie: session={EVIL}; Path=/; Domain=localhost\r\n"),
            format!("set-cookie: authorization={EVIL}; Path=/api/v2; Domain=.example.com\r\n"),
            format!("set-cookie: big={EVIL}{}\r\n", "x".repeat(100_000)),
        ];
        let evil = evil.concat();
        let Some(good) = (seen.path != EVENTS).then(|| state.healthy(seen)).flatten() else {
            return Reply::Healthy;
        };
        // Before the service's own headers, and after them.
        let text = String::from_utf8(good).unwrap();
        let (line, rest) = text.split_once("\r\n").unwrap();
        let (head, body) = rest.split_once("\r\n\r\n").unwrap();
        Reply::Bytes(
            format!("{line}\r\n{evil}{head}\r\n{evil}connection: close\r\n\r\n{body}").into(),
        )
    });
    scene.service.cut_streams();
    scene.leave_and_return().await;
    scene.service.write("theirs", "again");
    scene.write().await;
    scene.recover().await;
    scene.finish(6 * MIB, 40).await;
}

async fn a_huge_ticket_is_no_ticket() {
    let huge = "x".repeat(MIB);
    let in_body = format!("{{\"ticket\":\"{huge}\"}}");
    let long = "x".repeat(60_000);
    for (reply, cause) in [
        (answer(200, "", in_body), Cause::ResponseTooLarge),
        (
            answer(200, "", format!("{{\"ticket\":\"{long}\"}}")),
            Cause::BadResponse,
        ),
        (
            answer(
                200,
                &format!("set-cookie: pb_stream_ticket={long}\r\n"),
                "{}",
            ),
            Cause::BadResponse,
        ),
        (
            answer(
                200,
                &format!("set-cookie: pb_stream_ticket={huge}\r\n"),
                "{}",
            ),
            Cause::NotTheService,
        ),
        (
            answer(200, "", "{\"ticket\":\"a\\r\\nx-evil: 1\"}"),
            Cause::TicketReplayed,
        ),
        (answer(200, "", "{\"ticket\":\"\"}"), Cause::BadResponse),
        (answer(200, "", "{\"ok\":true}"), Cause::BadResponse),
    ] {
        let scene = Scene::start().await;
        scene.survive(TICKETS, Reply::Bytes(reply), cause).await;
        for seen in scene.service.seen() {
            assert!(seen.head.len() < 8_000, "{} bytes of head", seen.head.len());
        }
        scene.finish(6 * MIB, 40).await;
    }
}

async fn of_two_tickets_one_is_used() {
    let scene = Scene::start().await;
    let state = std::sync::Arc::clone(&scene.service.state);
    scene.service.script(move |seen| {
        if seen.path != TICKETS {
            return Reply::Healthy;
        }
        let good = String::from_utf8(state.healthy(seen).unwrap()).unwrap();
        let other = "HTTP/1.1 200 X\r\nset-cookie: pb_stream_ticket=other; Path=/api/v2/events";
        let body = "{\"ticket\":\"third\"}";
        let text = good
            .replacen("HTTP/1.1 200 X", other, 1)
            .replace("{\"ok\":true}", body);
        Reply::Bytes(text.replace("length: 11", "length: 18").into())
    });
    scene.service.cut_streams();
    scene.leave_and_return().await;
    let streams: Vec<Seen> = scene
        .service
        .seen()
        .into_iter()
        .filter(|seen| seen.path == EVENTS)
        .collect();
    for stream in &streams {
        assert_eq!(stream.query, "", "both ways at once");
        assert_eq!(stream.header("cookie").matches('=').count(), 1);
    }
    scene.write().await;
    scene.recover().await;
    scene.finish(4 * MIB, 40).await;
}

/// Whatever the service was sent, it says back in every place that the client reads aloud.
async fn secrets_that_are_said_back_are_not_told() {
    for lane in [TICKETS, EVENTS, PULL, NOTES, PUSH] {
        let scene = Scene::start().await;
        scene.service.script(move |seen| {
            if lane == NOTES && seen.path == PULL {
                let from = seen.query.trim_start_matches("cursor=");
                return Reply::Bytes(good(&serde_json::json!({"changes": [],
                    "resetRequired": true, "nextCursor": from})));
            }
            if seen.path != lane {
                return Reply::Healthy;
            }
            let secrets = format!("{} {}", seen.header("authorization"), seen.header("cookie"));
            let body = serde_json::json!({"error": {"code": secrets, "message": secrets,
                "cause": secrets, "retryable": true}});
            let header = format!("x-said: {secrets}\r\n");
            Reply::Bytes(answer(502, &header, body.to_string()))
        });
        scene.provoke(lane).await;
        scene.degraded(lane, Cause::ServerError).await;
        scene.write().await;
        scene.recover().await;
        assert_eq!(scene.client.status().state, SyncState::Synced);
        scene.finish(4 * MIB, 40).await;
    }
}
