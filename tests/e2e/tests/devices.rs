//! One device shuts another out, against the whole service.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use evenkeel::{Ask, Cause, MemoryReplica, RequestError, Secret, SyncClient, SyncState};
use evenkeel_e2e::reach;
use evenkeel_stack::Stack;

const BOUND: Duration = Duration::from_secs(30);

fn device(stack: &Stack) -> SyncClient {
    let client = SyncClient::builder(stack.edge_url())
        .token(Secret::new("demo-token"))
        .replica(MemoryReplica::new())
        .build()
        .unwrap();
    client.start().unwrap();
    client
}

#[tokio::test]
async fn a_lost_phone_is_shut_out_and_says_so() {
    let stack = Stack::builder().start().await.unwrap();
    let (desk, phone) = (device(&stack), device(&stack));
    for client in [&desk, &phone] {
        reach(client, "synced", BOUND, |s| s.state == SyncState::Synced).await;
    }
    let list = desk.devices().await.unwrap();
    assert_eq!(list.current_device_id.as_deref(), Some(desk.device_id()));
    let ids: Vec<_> = list.devices.iter().map(|d| d.id.as_str()).collect();
    assert!(ids.contains(&phone.device_id()), "{ids:?}");

    let done = desk.revoke_device(phone.device_id()).await.unwrap();
    assert_eq!(done.revoked_device_id, phone.device_id());
    phone.sync_now();
    let shut_out = |s: &evenkeel::Status| s.ask == Ask::DeviceRevoked;
    reach(&phone, "revoked", BOUND, shut_out).await;
    let list = desk.devices().await.unwrap();
    let lost = list.devices.iter().find(|d| d.id == phone.device_id());
    assert!(lost.unwrap().revoked_at.is_some());
    let error = phone.devices().await.unwrap_err();
    let RequestError::Failed(failure) = error else {
        panic!("{error:?}");
    };
    assert_eq!(failure.cause, Cause::DeviceRevoked);
    let nobody = "2f1e7a52-6f0c-4c53-9d0b-0c7a3f1d2e4b";
    let RequestError::Failed(failure) = desk.revoke_device(nobody).await.unwrap_err() else {
        panic!("it was done");
    };
    assert_eq!(failure.cause, Cause::NotFound);
    desk.stop().await;
    phone.stop().await;
}
