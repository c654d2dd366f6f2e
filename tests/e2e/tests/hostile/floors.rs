//! A server that says when to come back, and means never.

use std::time::Duration;

use evenkeel::Cause;

use crate::scene::{MIB, Scene, every_lane};
use crate::server::{LANES, PULL, PUSH, Reply, TICKETS, answer};

mod run {
    crate::scenarios! {
        a_floor_is_never_longer_than_fifteen_minutes
        what_is_no_time_is_no_floor
        a_floor_that_is_over_is_over
    }
}

const LONGEST: Duration = Duration::from_secs(15 * 60);
/// The spread after it, a tenth.
const SPREAD: Duration = Duration::from_secs(90);

fn refusal(header: &str) -> Reply {
    Reply::Bytes(answer(503, header, "{}"))
}

async fn a_floor_is_never_longer_than_fifteen_minutes() {
    for header in [
        "retry-after: 999999999\r\n",
        "retry-after: 99999999999999999999999999999999\r\n",
        "retry-after: 1, 999999999\r\n",
        "date: Thu, 01 Jan 1970 00:00:00 GMT\r\nretry-after: Fri, 31 Dec 9999 23:59:59 GMT\r\n",
    ] {
        let scene = Scene::start().await;
        let status = scene.meet(PULL, refusal(header), Cause::ServerError).await;
        let (floor, next) = (status.floor_from_server(), status.next_attempt_in());
        assert!(
            floor.is_some_and(|floor| floor <= LONGEST),
            "{header}: {status:?}"
        );
        assert!(
            floor.is_some_and(|floor| floor > LONGEST - SPREAD),
            "{header}: {status:?}"
        );
        assert!(
            next.is_some_and(|next| next <= LONGEST + SPREAD),
            "{header}: {status:?}"
        );
        // Nobody comes earlier, whatever the app wants.
        let before = scene.service.requests_to(PULL);
        scene.client.retry_now();
        scene.client.sync_now();
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(scene.service.requests_to(PULL), before, "{header}");
        scene.finish(4 * MIB, 20).await;
    }
}

async fn what_is_no_time_is_no_floor() {
    for header in [
        "retry-after: -5\r\n",
        "retry-after: soon\r\n",
        "retry-after: 1e9\r\n",
        "retry-after: \r\n",
        "retry-after: Fri, 99 Foo 9999 99:99:99 GMT\r\n",
        "retry-after: Fri, 31 Dec 9999 23:59:59 GMT\r\n",
        "date: Fri, 31 Dec 9999 23:59:59 GMT\r\nretry-after: Thu, 01 Jan 1970 00:00:00 GMT\r\n",
    ] {
        let scene = Scene::start().await;
        let status = scene.meet(PULL, refusal(header), Cause::ServerError).await;
        assert_eq!(status.floor_from_server(), None, "{header}");
        scene.write().await;
        scene.recover().await;
        scene.finish(4 * MIB, 30).await;
    }
}

async fn a_floor_that_is_over_is_over() {
    every_lane(&LANES, 4 * MIB, |_| {
        (refusal("retry-after: 1\r\n"), Cause::ServerError)
    })
    .await;
    every_lane(&[TICKETS, PULL, PUSH], 4 * MIB, |_| {
        let reply = Reply::Bytes(answer(429, "retry-after: 1\r\n", "{}"));
        (reply, Cause::RateLimited)
    })
    .await;
}
