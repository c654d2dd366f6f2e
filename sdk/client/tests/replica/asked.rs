//! A sync that is asked for in one process, and done by another.

use std::time::Duration;

use evenkeel::{Status, SyncClient, SyncOnceError, SyncState};

use crate::bench::{Bench, Place, content};
use crate::client::client;
use crate::common::{Reply, Service, eventually, until};

const LONG: Duration = Duration::from_secs(20);

fn pulls(service: &Service) -> usize {
    service.seen("/api/v2/sync/pull").len()
}

async fn holder(service: &Service, place: &Place) -> SyncClient {
    let store = place.open().await;
    let client = client(service, &store);
    let synced = |s: &Status| s.syncs_here && s.state == SyncState::Synced;
    until(&client, "synced", synced).await;
    client
}

#[tokio::test]
async fn a_sync_in_a_follower_is_done_by_the_holder() {
    let service = Service::start().await;
    let place = Place::new();
    let holder = holder(&service, &place).await;
    let store = place.open().await;
    let follower = client(&service, &store);
    until(&follower, "following", |s| !s.syncs_here).await;
    for round in 0..3 {
        // Nobody announces it.
        service.cut_streams(true);
        service.write("theirs", &round.to_string());
        store
            .put("ours", content(&round.to_string()))
            .await
            .unwrap();
        let before = pulls(&service);
        let report = follower.sync_once(LONG).await.unwrap();
        assert!(!report.status.syncs_here);
        assert!(pulls(&service) > before);
        assert_eq!(store.text("theirs").await.unwrap(), round.to_string());
        assert_eq!(service.content("ours").unwrap(), round.to_string());
    }
    let before = pulls(&service);
    follower.sync_now();
    eventually("a pull", || pulls(&service) > before).await;
    // At rest again afterwards, where it was at rest before.
    follower.stop().await;
    follower.sync_once(LONG).await.unwrap();
    assert_eq!(follower.status().lifecycle, evenkeel::Lifecycle::Stopped);
    holder.stop().await;
}

#[tokio::test]
async fn a_follower_says_in_time_that_the_holder_did_not_come_to_the_end() {
    let service = Service::start().await;
    let place = Place::new();
    let holder = holder(&service, &place).await;
    service.script(|seen| match seen.path.as_str() {
        "/api/v2/sync/pull" => Reply::Hang,
        _ => Reply::Healthy,
    });
    let follower = client(&service, &place.open().await);
    let deadline = Duration::from_secs(3);
    let error = follower.sync_once(deadline).await.unwrap_err();
    assert!(matches!(error, SyncOnceError::Deadline { .. }), "{error}");
    service.heal();
    holder.stop().await;
}

#[tokio::test]
async fn a_follower_syncs_itself_where_the_holder_goes_away_meanwhile() {
    let service = Service::start().await;
    let place = Place::new();
    let holder = holder(&service, &place).await;
    let store = place.open().await;
    let follower = client(&service, &store);
    until(&follower, "following", |s| !s.syncs_here).await;
    service.script(|seen| match seen.path.as_str() {
        "/api/v2/sync/pull" => Reply::Hang,
        _ => Reply::Healthy,
    });
    let before = pulls(&service);
    let syncing = tokio::spawn({
        let follower = follower.clone();
        async move { follower.sync_once(LONG).await }
    });
    eventually("the holder was asked", || pulls(&service) > before).await;
    service.write("theirs", "x");
    service.heal();
    holder.stop().await;
    let report = syncing.await.unwrap().unwrap();
    assert!(report.status.syncs_here);
    assert_eq!(store.text("theirs").await.unwrap(), "x");
    follower.stop().await;
}
