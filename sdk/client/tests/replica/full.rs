//! A disk that is truly full: a client on a small filesystem of its own.
//!
//! The scenario is this test binary again, running [`child`] alone in a mount namespace, which an
//! ordinary user may have on most Linux systems. Elsewhere a limit on the file plays the part, in
//! [`room`](crate::room).

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use evenkeel::store::{SqliteStore, StoreError};
use evenkeel::{Ask, Cause, Secret, Status, SyncClient, SyncState};
use tokio::time::timeout;

use crate::bench::{ACCOUNT, Bench, content, fast};
use crate::common::{Service, TOKEN};

const FOLDER: &str = "EVENKEEL_FULL_TEST_FOLDER";
const MOUNTED: &str = "mount -t tmpfs -o size=8m tmpfs \"$EVENKEEL_FULL_TEST_FOLDER\"";
/// The client looks after trouble of the store again after half a minute, then after a minute.
const BOUND: Duration = Duration::from_secs(150);

#[test]
fn a_client_says_that_the_disk_is_full_and_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let unshared = |script: String| {
        let mut command = Command::new("unshare");
        command
            .args(["--map-root-user", "--mount", "sh", "-c", &script, "sh"])
            .arg(std::env::current_exe().unwrap())
            .env(FOLDER, folder.path());
        command.output()
    };
    if !unshared(MOUNTED.into()).is_ok_and(|tried| tried.status.success()) {
        println!("left out: a truly full disk (no mount namespaces here)");
        return;
    }
    let run = format!("{MOUNTED} && exec \"$1\" --exact full::child --ignored --nocapture");
    let ran = unshared(run).unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    let complaints = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}{complaints}");
    assert!(said.contains("1 passed"), "{said}");
}

/// Not a test by itself: what happens on the small filesystem.
#[tokio::test]
#[ignore = "run by the test above as a process of its own"]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        return;
    };
    let ballast = folder.join("ballast");
    let service = Service::start().await;
    for n in 0..300 {
        service.write(&format!("r{n}"), &"theirs ".repeat(1_000));
    }
    let store = SqliteStore::open(folder.join("notes.db"), ACCOUNT, fast()).await;
    let store = store.unwrap();
    store.put("before", content("safe")).await.unwrap();
    fs::write(&ballast, vec![1; 6 << 20]).unwrap();
    let client = SyncClient::builder(&service.url)
        .token(Secret::new(TOKEN))
        .replica(store.clone())
        .state_dir(folder.join("state"))
        .build()
        .unwrap();
    client.start().unwrap();
    let full = until(&client, "full", |s| s.ask == Ask::FreeStorage).await;
    assert_eq!(full.cause, Some(Cause::StorageFull));
    assert_eq!(full.state, SyncState::Degraded);
    let refused = loop {
        // What is left may take a small one.
        if let Err(error) = store.put("during", content(&"x".repeat(50_000))).await {
            break error;
        }
    };
    assert_eq!(refused, StoreError::Full);
    assert_eq!(store.text("before").await.unwrap(), "safe");

    fs::remove_file(&ballast).unwrap();
    store.put("after", content("there is room")).await.unwrap();
    let there = until(&client, "synced", |s| {
        s.state == SyncState::Synced && s.pending == 0
    });
    assert_eq!(there.await.ask, Ask::None);
    for n in 0..300 {
        assert!(
            store.view(&format!("r{n}")).await.is_some(),
            "r{n} is missing"
        );
    }
    assert_eq!(service.content("before").unwrap(), "safe");
    assert_eq!(service.content("after").unwrap(), "there is room");
    client.stop().await;
    store.close().await.unwrap();
}

async fn until(client: &SyncClient, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
    let mut statuses = client.status_changes();
    let waiting = async {
        loop {
            let status = statuses.next().await.unwrap();
            if wanted(&status) {
                return status;
            }
        }
    };
    let reached = timeout(BOUND, waiting).await;
    reached.unwrap_or_else(|_| panic!("not {what}: {:?}", client.status()))
}
