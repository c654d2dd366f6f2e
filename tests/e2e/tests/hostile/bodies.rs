//! Bodies that never end, lie about their length, or unfold into much more than they are.

use evenkeel::Cause;

use crate::scene::{MIB, Scene};
use crate::server::{EVENTS, NOTES, PULL, PUSH, Reply, TICKETS, head, stream_head};

mod run {
    crate::scenarios! {
        an_endless_pull
        an_endless_snapshot
        an_endless_push_answer
        endless_small_answers
        an_endless_line_in_the_stream
        an_endless_refusal
    }
}

async fn an_endless_pull() {
    let scene = Scene::start().await;
    let begin = [head(200, ""), br#"{"changes":[],"x":""#.to_vec()].concat();
    scene
        .survive(
            PULL,
            Reply::Endless(begin, vec![b'x'; MIB / 4]),
            Cause::ResponseTooLarge,
        )
        .await;
    let taken = scene
        .service
        .state
        .taken
        .load(std::sync::atomic::Ordering::SeqCst);
    assert!(taken < 80 * MIB as u64, "{taken} bytes were taken");
    scene.finish(12 * MIB, 30).await;
}

async fn an_endless_snapshot() {
    let scene = Scene::start().await;
    let begin = [head(200, ""), br#"{"cursor":1,"x":""#.to_vec()].concat();
    scene
        .survive(
            NOTES,
            Reply::Endless(begin, vec![b'x'; MIB / 4]),
            Cause::ResponseTooLarge,
        )
        .await;
    let taken = scene
        .service
        .state
        .taken
        .load(std::sync::atomic::Ordering::SeqCst);
    assert!(taken < 530 * MIB as u64, "{taken} bytes were taken");
    scene.finish(12 * MIB, 30).await;
}

async fn an_endless_push_answer() {
    let scene = Scene::start().await;
    let begin = [head(200, ""), br#"{"nextCursor":1,"x":""#.to_vec()].concat();
    scene
        .survive(
            PUSH,
            Reply::Endless(begin, vec![b'x'; MIB / 4]),
            Cause::ResponseTooLarge,
        )
        .await;
    scene.finish(100 * MIB, 30).await;
}

async fn endless_small_answers() {
    let scene = Scene::start().await;
    let begin = [head(200, ""), br#"{"ok":true,"x":""#.to_vec()].concat();
    scene
        .survive(
            TICKETS,
            Reply::Endless(begin, vec![b'x'; MIB / 4]),
            Cause::ResponseTooLarge,
        )
        .await;
    scene.finish(8 * MIB, 30).await;
}

async fn an_endless_refusal() {
    let scene = Scene::start().await;
    let begin = [head(503, "retry-after: 1\r\n"), b"{".to_vec()].concat();
    scene
        .survive(
            PULL,
            Reply::Endless(begin, vec![b'x'; MIB / 4]),
            Cause::ServerError,
        )
        .await;
    scene.finish(8 * MIB, 30).await;
}

async fn an_endless_line_in_the_stream() {
    let scene = Scene::start().await;
    let begin = format!("{}data: ", stream_head(""));
    scene
        .survive(
            EVENTS,
            Reply::Endless(begin.into(), vec![b'x'; MIB / 4]),
            Cause::ResponseTooLarge,
        )
        .await;
    scene.finish(10 * MIB, 30).await;
}
