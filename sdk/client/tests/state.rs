//! What survives a restart.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a panic is a test's verdict"
)]

mod common;

use std::fs;
use std::time::Duration;

use common::{Reply, Service, builder, degraded, eventually, synced, unavailable};
use evenkeel::{BuildError, Cause, Secret, SyncClient};

#[test]
fn a_device_id_is_kept_in_the_state_directory_or_given() {
    let dir = tempfile::tempdir().unwrap();
    let build = || builder("https://sync.example.com").state_dir(dir.path());
    let first = build().build().unwrap();
    let second = build().build().unwrap();
    assert_eq!(first.device_id(), second.device_id());
    let given = "f81d4fae-7dec-41d0-a765-00a0c91e6bf6";
    let third = build().device_id(given).build().unwrap();
    assert_eq!(third.device_id(), given);
    let fourth = build().build().unwrap();
    assert_eq!(first.device_id(), fourth.device_id());
    let nowhere = || builder("https://sync.example.com").build().unwrap();
    assert_ne!(nowhere().device_id(), nowhere().device_id());
    for wrong in ["", "me", "00000000-0000-0000-0000-000000000000"] {
        let error = build().device_id(wrong).build().unwrap_err();
        assert!(matches!(error, BuildError::DeviceId), "{error}");
    }
}

#[test]
fn a_corrupt_state_file_stops_the_build_and_is_left_alone() {
    for name in ["device-id", "floors.json"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs::write(&path, "\u{fffd} not ours").unwrap();
        let error = builder("https://sync.example.com")
            .state_dir(dir.path())
            .build()
            .unwrap_err();
        let BuildError::StateCorrupt { path: told, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(*told, path);
        assert_eq!(fs::read_to_string(&path).unwrap(), "\u{fffd} not ours");
    }
}

#[test]
fn a_state_directory_that_is_a_file_stops_the_build() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let builder = builder("https://sync.example.com").state_dir(&file);
    let error = builder.build().unwrap_err();
    assert!(matches!(error, BuildError::StateUnusable { .. }), "{error}");
}

#[test]
fn nonsense_is_refused_before_anything_starts() {
    let error = SyncClient::builder("https://sync.example.com").build();
    assert!(matches!(error, Err(BuildError::TokenProviderMissing)));
    let with = || builder("https://sync.example.com");
    let error = SyncClient::builder("http://sync.example.com")
        .token(Secret::new("t"))
        .build();
    assert!(matches!(error, Err(BuildError::Url { .. })));
    let error = with().user_agent("a\nb").build();
    assert!(matches!(error, Err(BuildError::Setting { .. })));
    let error = with().extra_root_certificates("nonsense").build();
    assert!(matches!(error, Err(BuildError::Certificate { .. })));
    let proxy = evenkeel::ProxySetting::Url("::".into());
    let error = with().proxy(proxy).build();
    assert!(matches!(error, Err(BuildError::Proxy)));
    for (proxy, fine) in [
        ("http://me:pw@proxy.example:8080", false),
        ("10.0.0.1:8080", false),
        ("http://127.0.0.1:8080", true),
        ("localhost:8080", true),
    ] {
        let setting = evenkeel::ProxySetting::Url(proxy.into());
        let built = builder("http://127.0.0.1:1").proxy(setting).build();
        match built {
            Ok(_) => assert!(fine, "{proxy}"),
            Err(error) => {
                assert!(matches!(error, BuildError::ProxyElsewhere), "{error}");
                assert!(!fine && !format!("{error} {error:?}").contains("pw"));
            }
        }
    }
}

#[tokio::test]
async fn a_floor_of_the_server_holds_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start().await;
    service.script(|_| Reply::Full(unavailable("circuit_open", Some(3))));
    let build = || builder(&service.url).state_dir(dir.path()).build().unwrap();
    let client = build();
    let refused_at = std::time::Instant::now();
    client.start().unwrap();
    degraded(&client).await;
    eventually("the floor on disk", || {
        dir.path().join("floors.json").exists()
    })
    .await;
    client.stop().await;
    drop(client);
    service.heal();
    let sent = service.requests();
    assert_eq!(sent, 1);

    let client = build();
    client.start().unwrap();
    let status = degraded(&client).await;
    assert_eq!(status.cause, Some(Cause::CircuitOpen));
    assert!(status.next_attempt_in().unwrap() > Duration::from_secs(1));
    client.retry_now();
    client.set_foreground(true);
    client.stop().await;
    // The same client, stopped and started again, holds to it as well.
    client.start().unwrap();
    client.sync_now();
    eventually("a request", || service.requests() > sent).await;
    assert!(refused_at.elapsed() >= Duration::from_secs(3));
    synced(&client).await;
    client.stop().await;

    let client = build();
    client.start().unwrap();
    let begin = std::time::Instant::now();
    synced(&client).await;
    assert!(begin.elapsed() < Duration::from_secs(2), "it is over");
}

#[tokio::test]
async fn a_floor_that_cannot_be_saved_is_counted_and_the_sync_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start().await;
    service.script(|_| Reply::Full(unavailable("circuit_open", Some(1))));
    let state_dir = dir.path().join("state");
    let builder = builder(&service.url).state_dir(&state_dir);
    let client = builder.build().unwrap();
    fs::remove_dir_all(&state_dir).unwrap();
    client.start().unwrap();
    degraded(&client).await;
    service.heal();
    synced(&client).await;
    assert!(client.diagnostics().floor_save_failures > 0);
}
