//! JSON that is deep, or unfolds into much more memory than it has bytes, and bodies that claim to be
//! compressed.

use evenkeel::{Cause, SyncState};

use crate::scene::{MIB, Scene, every_case, every_lane};
use crate::server::{EVENTS, NOTES, PULL, PUSH, READY, Reply, TICKETS, answer, head, stream_head};

mod run {
    crate::scenarios! {
        deep_answers
        a_deep_event_is_a_sign_of_life
        a_page_of_tiny_values
        a_page_of_countless_changes
        a_record_as_large_as_a_snapshot_may_be
        a_snapshot_of_tiny_values
        a_push_answer_of_tiny_values
        compressed_though_nobody_asked
    }
}

fn deep(open: &str, close: &str) -> String {
    format!("{}1{}", open.repeat(100_000), close.repeat(100_000))
}

async fn deep_answers() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = deep(open, close);
        every_lane(&[TICKETS, PULL, NOTES, PUSH], 8 * MIB, |lane| {
            let body = match lane {
                TICKETS => format!("{{\"ticket\":{deep}}}"),
                PULL => format!(
                    "{{\"nextCursor\":9,\"changes\":[{{\"cursor\":9,\"op\":\"upsert\",\"note\":{{\"id\":\"x\",\"version\":1,\"content\":{deep}}}}}]}}"
                ),
                NOTES => format!("{{\"cursor\":9,\"notes\":[{{\"id\":\"x\",\"version\":1,\"content\":{deep}}}]}}"),
                _ => format!("{{\"nextCursor\":9,\"applied\":{deep}}}"),
            };
            // A ticket's answer has a limit that this is beyond.
            let cause = match lane {
                TICKETS => Cause::ResponseTooLarge,
                _ => Cause::BadResponse,
            };
            (Reply::Bytes(answer(200, "", body)), cause)
        })
        .await;
        // A refusal speaks by its status, whatever its body is.
        every_lane(&[TICKETS, EVENTS, PULL, PUSH], 8 * MIB, |_| {
            (
                Reply::Bytes(answer(502, "", format!("{{\"error\":{deep}}}"))),
                Cause::ServerError,
            )
        })
        .await;
    }
}

async fn a_deep_event_is_a_sign_of_life() {
    let scene = Scene::start().await;
    let deep = deep("[", "]");
    let text = format!(
        "{}{READY}event: sync\ndata: {deep}\n\nevent: heartbeat\ndata: {deep}\n\nevent: x\ndata: {deep}\n\n",
        stream_head("")
    );
    scene.service.answer(EVENTS, Reply::Held(text.into()));
    scene.service.cut_streams();
    scene.leave_and_return().await;
    assert_eq!(scene.client.status().state, SyncState::Synced);
    scene.write().await;
    scene.recover().await;
    scene.finish(8 * MIB, 40).await;
}

/// Sixty megabytes that would be four gigabytes of records.
async fn a_page_of_tiny_values() {
    let scene = Scene::start().await;
    let begin = br#"{"nextCursor":9,"changes":[{"cursor":9,"op":"upsert","note":{"id":"x","version":1,"content":["#;
    let begin = [head(200, ""), begin.to_vec()].concat();
    let tiny = br#"{"a":0},"#.repeat(32_768);
    scene
        .survive(
            PULL,
            Reply::Times(begin, tiny, 230),
            Cause::ResponseTooLarge,
        )
        .await;
    scene.finish(90 * MIB, 40).await;
}

async fn a_page_of_countless_changes() {
    let scene = Scene::start().await;
    let begin = [head(200, ""), br#"{"nextCursor":9,"changes":["#.to_vec()].concat();
    let tiny = br#"{"cursor":1,"op":"x"},"#.repeat(8_192);
    scene
        .survive(
            PULL,
            Reply::Times(begin, tiny, 300),
            Cause::ResponseTooLarge,
        )
        .await;
    scene.finish(20 * MIB, 40).await;
}

async fn a_record_as_large_as_a_snapshot_may_be() {
    let scene = Scene::start().await;
    let begin = br#"{"cursor":9,"notes":[{"id":"x","version":1,"content":""#;
    let begin = [head(200, ""), begin.to_vec()].concat();
    scene
        .survive(
            NOTES,
            Reply::Times(begin, vec![b'x'; MIB], 500),
            Cause::ResponseTooLarge,
        )
        .await;
    scene.finish(60 * MIB, 40).await;
}

async fn a_snapshot_of_tiny_values() {
    let scene = Scene::start().await;
    let begin = br#"{"cursor":9,"notes":[{"id":"x","version":1,"content":["#;
    let begin = [head(200, ""), begin.to_vec()].concat();
    let tiny = br#"[],0,"#.repeat(65_536);
    scene
        .survive(
            NOTES,
            Reply::Times(begin, tiny, 1_000),
            Cause::ResponseTooLarge,
        )
        .await;
    scene.finish(90 * MIB, 40).await;
}

async fn a_push_answer_of_tiny_values() {
    for (begin, tiny) in [
        (
            r#"{"nextCursor":9,"applied":[{"requestId":"x","cursor":1,"note":{"id":"x","version":1,"content":["#,
            r#"{"a":0},"#,
        ),
        (
            r#"{"nextCursor":9,"conflicts":["#,
            r#"{"requestId":"","noteId":""},"#,
        ),
        (
            r#"{"nextCursor":9,"conflicts":[{"requestId":"","noteId":"","changedFields":["#,
            r#""","#,
        ),
    ] {
        let scene = Scene::start().await;
        let begin = [head(200, ""), begin.into()].concat();
        let again = tiny.repeat((1 << 18) / tiny.len()).into_bytes();
        scene
            .survive(
                PUSH,
                Reply::Times(begin, again, 250),
                Cause::ResponseTooLarge,
            )
            .await;
        scene.finish(160 * MIB, 40).await;
    }
}

/// Nobody asked for it, so nobody unpacks it: a good answer would come of that.
async fn compressed_though_nobody_asked() {
    let bomb = include_bytes!("bomb.gz");
    for coding in ["gzip", "br", "deflate", "zstd"] {
        let header = format!("content-encoding: {coding}\r\n");
        let stream = [stream_head(&header).into_bytes(), bomb.to_vec()].concat();
        let refusal = Reply::Bytes(answer(503, &header, bomb));
        let mut cases = vec![
            (EVENTS, Reply::Held(stream), Cause::BadResponse),
            (PULL, refusal, Cause::ServerError),
        ];
        let good = Reply::Bytes(answer(200, &header, bomb));
        let lanes = [TICKETS, PULL, NOTES, PUSH];
        cases.extend(lanes.map(|lane| (lane, good.clone(), Cause::BadResponse)));
        every_case(8 * MIB, cases).await;
    }
}
