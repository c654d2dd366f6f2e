//! The account's devices: requests that the app makes.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a panic is a test's verdict"
)]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Reply, Service, TOKEN, answer, client, refusal, unavailable};
use evenkeel::{Cause, RequestError, Secret, SyncClient, TokenError, TokenReason};
use serde_json::json;

fn list() -> Reply {
    Reply::Full(answer(&json!({
        "devices": [
            {"id": "one", "label": "Phone", "platform": null, "lastSeenAt": "17"},
            {"id": "two", "revokedAt": 5, "colour": "red"},
        ],
        "currentDeviceId": "one",
    })))
}

#[tokio::test]
async fn the_devices_are_listed_and_one_is_shut_out() {
    let service = Service::start().await;
    service.script(|seen| match seen.path.as_str() {
        "/api/v2/devices" => list(),
        "/api/v2/devices/a%2Fb%3F/revoke" => {
            Reply::Full(answer(&json!({"ok": true, "revokedDeviceId": "a/b?"})))
        }
        _ => Reply::Healthy,
    });
    let (client, _) = client(&service.url);
    let list = client.devices().await.unwrap();
    assert_eq!(list.current_device_id.unwrap(), "one");
    assert_eq!(list.devices[0].last_seen_at.unwrap().0, 17);
    assert_eq!(list.devices[1].revoked_at.unwrap().0, 5);
    let done = client.revoke_device("a/b?").await.unwrap();
    assert_eq!(done.revoked_device_id, "a/b?");
    let seen = service.seen("/api/v2/devices");
    assert_eq!(seen[0].header("x-device-id"), client.device_id());
    assert_eq!(service.requests(), 2);
}

#[tokio::test]
async fn a_token_that_is_refused_is_refreshed_once() {
    let service = Service::start().await;
    service.script(|seen| {
        let fresh = seen.header("authorization").ends_with("fresh");
        if fresh {
            list()
        } else {
            Reply::Full(refusal(401, "AUTH_REQUIRED"))
        }
    });
    let provider = |why: TokenReason| async move {
        Ok::<_, TokenError>(Secret::new(match why {
            TokenReason::Refused => "fresh",
            _ => "stale",
        }))
    };
    let client = SyncClient::builder(&service.url).token_provider(provider);
    assert_eq!(
        client
            .build()
            .unwrap()
            .devices()
            .await
            .unwrap()
            .devices
            .len(),
        2
    );
    assert_eq!(service.requests(), 2);

    let refused = SyncClient::builder(&service.url).token(Secret::new(TOKEN));
    let error = refused.build().unwrap().devices().await.unwrap_err();
    let RequestError::Failed(failure) = &error else {
        panic!("{error:?}");
    };
    assert_eq!(failure.cause, Cause::AuthRequired);
    assert!(!format!("{error} {error:?}").contains(TOKEN));
    assert_eq!(service.requests(), 3, "a fixed token has no second one");
}

#[tokio::test]
async fn a_request_is_not_sent_while_the_service_wants_to_be_left_alone() {
    let service = Service::start().await;
    service.script(|_| Reply::Full(unavailable("circuit_open", Some(40))));
    let (client, _) = client(&service.url);
    let error = client.devices().await.unwrap_err();
    let RequestError::Failed(failure) = error else {
        panic!("{error:?}");
    };
    assert_eq!(failure.cause, Cause::CircuitOpen);
    service.heal();
    let error = client.revoke_device("one").await.unwrap_err();
    let RequestError::Held { wait } = error else {
        panic!("{error:?}");
    };
    let range = Duration::from_secs(20)..=Duration::from_secs(40);
    assert!(range.contains(&wait), "{wait:?}");
    assert_eq!(service.requests(), 1);
}

#[tokio::test]
async fn what_the_sync_was_told_holds_for_the_apps_requests_too() {
    let service = Service::start().await;
    service.script(|_| Reply::Full(unavailable("circuit_open", Some(40))));
    let (client, _) = client(&service.url);
    client.start().unwrap();
    common::until(&client, "held", |s| s.floor_from_server().is_some()).await;
    let before = service.requests();
    let error = client.devices().await.unwrap_err();
    assert!(matches!(error, RequestError::Held { .. }), "{error:?}");
    assert_eq!(service.requests(), before);
    client.stop().await;
}

#[tokio::test]
async fn a_suspended_client_sends_nothing() {
    let service = Service::start().await;
    let (client, _) = client(&service.url);
    client.start().unwrap();
    client.suspend(Duration::from_secs(20)).await.unwrap();
    let error = client.devices().await.unwrap_err();
    assert!(matches!(error, RequestError::Suspended), "{error:?}");
    assert!(service.seen("/api/v2/devices").is_empty());
    client.stop().await;
}

#[tokio::test]
async fn whatever_comes_back_is_a_typed_failure() {
    let service = Service::start().await;
    let count = AtomicUsize::new(0);
    service.script(move |_| {
        Reply::Full(match count.fetch_add(1, Ordering::SeqCst) {
            0 => refusal(404, "NOT_FOUND"),
            1 => common::full(200, "text/html", "<html>sign in to the hotel</html>"),
            2 => common::full(200, "application/json", "{\"devices\": 7"),
            _ => common::full(200, "application/json", vec![b' '; 5 << 20]),
        })
    });
    let (client, _) = client(&service.url);
    let expected = [
        Cause::NotFound,
        Cause::NotTheService,
        Cause::BadResponse,
        Cause::ResponseTooLarge,
    ];
    for cause in expected {
        let error = client.devices().await.unwrap_err();
        let RequestError::Failed(failure) = error else {
            panic!("{error:?}");
        };
        assert_eq!(failure.cause, cause);
    }
}
