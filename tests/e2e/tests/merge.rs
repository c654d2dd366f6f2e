//! One note written on two devices while one was offline: different fields merge, the same field waits
//! for a decision. Real clients with real stores, against the whole service.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use evenkeel::store::{Resolution, StoreOptions, Verdict};
use evenkeel::{Network, Secret, SqliteStore, Status, SyncClient, SyncState};
use evenkeel_e2e::reach;
use evenkeel_stack::Stack;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

const BOUND: Duration = Duration::from_secs(30);

struct Device {
    client: SyncClient,
    store: SqliteStore,
}

impl Device {
    async fn new(stack: &Stack, folder: &Path, name: &str) -> Self {
        let path = folder.join(name);
        let store = SqliteStore::open(path, "demo", StoreOptions::default())
            .await
            .unwrap();
        let client = SyncClient::builder(stack.edge_url())
            .token(Secret::new("demo-token"))
            .replica(store.clone())
            .build()
            .unwrap();
        client.start().unwrap();
        Self { client, store }
    }

    async fn reach(&self, what: &str, there: impl Fn(&Status) -> bool) {
        reach(&self.client, what, BOUND, there).await;
    }

    async fn offline(&self) {
        self.client.set_network(Network::Down);
        self.reach("offline", |s| s.state == SyncState::Degraded)
            .await;
    }

    fn online(&self) {
        self.client.set_network(Network::Up);
    }

    /// A write, and the service's verdict on it.
    async fn settled(&self, changes: Value) -> Verdict {
        let handle = self.store.patch("n", fields(changes)).await.unwrap();
        timeout(BOUND, handle).await.unwrap().unwrap()
    }

    /// Waits until the note is the same here as there.
    async fn comes_to(&self, wanted: &Value) {
        let mut changes = self.client.changes();
        let arrives = async {
            while self.note().await != *wanted {
                changes.next().await.unwrap().unwrap();
            }
        };
        let arrived = timeout(BOUND, arrives).await;
        assert!(arrived.is_ok(), "{} is not {wanted}", self.note().await);
    }

    /// The fields of the note, but the one that says which device wrote last.
    async fn note(&self) -> Value {
        let Some(mut note) = self.store.get("n").await.unwrap() else {
            return Value::Null;
        };
        note.fields.remove("lastModifiedByDeviceId");
        Value::Object(note.fields)
    }
}

fn fields(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// Both have the same note, and the phone goes offline.
async fn begin(folder: &Path) -> (Stack, Device, Device) {
    let stack = Stack::builder().start().await.unwrap();
    let phone = Device::new(&stack, folder, "phone.db").await;
    let laptop = Device::new(&stack, folder, "laptop.db").await;
    for device in [&phone, &laptop] {
        device
            .reach("synced", |s| s.state == SyncState::Synced)
            .await;
    }
    let note = json!({"title": "Shopping", "content": "milk", "tags": ["home"], "isPinned": false});
    phone.store.put("n", fields(note.clone())).await.unwrap();
    laptop.comes_to(&note).await;
    phone.reach("sent", |s| s.pending == 0).await;
    phone.offline().await;
    (stack, phone, laptop)
}

#[tokio::test]
async fn edits_to_different_fields_merge_by_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let (stack, phone, laptop) = begin(folder.path()).await;
    let theirs = json!({"title": "Groceries", "dueDate": 1_800_000_000_000_i64});
    let verdict = laptop.settled(theirs).await;
    assert!(matches!(verdict, Verdict::Acknowledged { .. }));
    let ours = json!({"content": "milk, eggs", "tags": ["home", "food"]});
    let handle = phone.store.patch("n", fields(ours)).await.unwrap();
    let handle_2 = phone
        .store
        .patch("n", fields(json!({"isPinned": true})))
        .await
        .unwrap();
    phone.online();
    for handle in [handle, handle_2] {
        let verdict = timeout(BOUND, handle).await.unwrap().unwrap();
        assert!(
            matches!(verdict, Verdict::Acknowledged { .. }),
            "{verdict:?}"
        );
    }
    let merged = json!({
        "title": "Groceries", "content": "milk, eggs", "tags": ["home", "food"],
        "isPinned": true, "dueDate": 1_800_000_000_000_i64,
    });
    phone.comes_to(&merged).await;
    laptop.comes_to(&merged).await;
    for device in [&phone, &laptop] {
        assert!(device.store.conflicts().await.unwrap().is_empty());
        device.client.stop().await;
    }
    stack.stop().await;
}

#[tokio::test]
async fn edits_to_the_same_field_wait_for_the_loser_to_decide() {
    let folder = tempfile::tempdir().unwrap();
    let (stack, phone, laptop) = begin(folder.path()).await;
    laptop.settled(json!({"title": "Groceries"})).await;
    let ours = json!({"title": "Market", "content": "bread"});
    let handle = phone.store.patch("n", fields(ours)).await.unwrap();
    phone.online();
    let verdict = timeout(BOUND, handle).await.unwrap().unwrap();
    assert_eq!(verdict, Verdict::Conflicted);
    phone.reach("in conflict", |s| s.conflicts == 1).await;
    assert!(laptop.store.conflicts().await.unwrap().is_empty());
    let conflict = phone.store.conflicts().await.unwrap().remove(0);
    assert_eq!(conflict.base.unwrap()["title"], "Shopping");
    assert_eq!(conflict.local.unwrap().fields["title"], "Market");
    assert_eq!(conflict.server.unwrap().fields["title"], "Groceries");

    let decided = json!({"title": "Market groceries", "content": "bread", "tags": ["home"]});
    let merged = Resolution::Merged(fields(decided.clone()));
    let handle = phone.store.resolve("n", merged).await.unwrap();
    let verdict = timeout(BOUND, handle).await.unwrap().unwrap();
    assert!(matches!(verdict, Verdict::Acknowledged { .. }));
    laptop.comes_to(&decided).await;
    phone.comes_to(&decided).await;
    phone.reach("decided", |s| s.conflicts == 0).await;
    for device in [&phone, &laptop] {
        device.client.stop().await;
    }
    stack.stop().await;
}
