//! Every field of a note, wherever a note is carried, and the limits on each.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails")]

mod support;

use serde_json::{Value, json};
use support::{Device, expect_refusal, start, upsert};

/// The contract's fields, and two of another deployment.
fn every_field() -> Value {
    json!({
        "content": "milk and eggs",
        "title": "Shopping",
        "tags": ["home", "food"],
        "type": "TASK",
        "isProcessed": true,
        "isCompleted": false,
        "isArchived": false,
        "isPinned": true,
        "dueDate": 1_800_000_000_000_i64,
        "priority": "urgent",
        "analysisState": "complete",
        "analysisVersion": 3,
        "contentHash": "9f86d081884c7d65",
        "colour": {"hue": [1, 2.5, null]},
        "reminder": null,
    })
}

/// A write of these fields.
fn write(id: &str, base_version: u64, fields: &Value) -> Value {
    let mut operation = upsert(id, base_version, "");
    for (name, value) in fields.as_object().unwrap() {
        operation["note"][name] = value.clone();
    }
    operation
}

/// The app's fields of a note.
fn fields(note: &Value) -> Value {
    let mut note = note.clone();
    let fields = note.as_object_mut().expect("a note");
    for name in ["id", "version", "createdAt", "updatedAt", "deletedAt"] {
        fields.remove(name);
    }
    fields.remove("lastModifiedByDeviceId");
    note
}

async fn get(device: &Device, path: &str) -> Value {
    device.send(device.get(path)).await.json().await.unwrap()
}

#[tokio::test]
async fn every_field_comes_back_wherever_a_note_is_carried() {
    let stack = start(&[]).await;
    let device = Device::edge(&stack);
    let all = every_field();
    let first = device.push(json!([write("n", 0, &all)])).await;
    let first: Value = first.json().await.unwrap();
    assert_eq!(fields(&first["applied"][0]["note"]), all);
    let by = &first["applied"][0]["note"]["lastModifiedByDeviceId"];
    assert_eq!(*by, json!(device.id));
    let page = get(&device, "/api/v2/sync/pull?cursor=0").await;
    assert_eq!(fields(&page["changes"][0]["note"]), all);
    let snapshot = get(&device, "/api/v2/notes?includeDeleted=true").await;
    assert_eq!(fields(&snapshot["notes"][0]), all);

    // Another device changes one field, adds one and takes one away.
    let mut theirs = all.clone();
    theirs["title"] = json!("Groceries");
    theirs["budget"] = json!(20);
    theirs.as_object_mut().unwrap().remove("tags");
    let other = Device::edge(&stack);
    other.pushed(json!([write("n", 1, &theirs)])).await;
    let late = device.push(json!([write("n", 1, &all)])).await;
    let late: Value = late.json().await.unwrap();
    let conflict = &late["conflicts"][0];
    assert_eq!(fields(&conflict["serverNote"]), theirs);
    assert_eq!(
        conflict["serverNote"]["lastModifiedByDeviceId"],
        json!(other.id)
    );
    let mut changed: Vec<_> = conflict["changedFields"].as_array().unwrap().clone();
    changed.sort_by_key(ToString::to_string);
    assert_eq!(changed, [json!("budget"), json!("tags"), json!("title")]);

    let delete = json!([{
        "requestId": "delete-it", "op": "delete", "noteId": "n", "baseVersion": 2
    }]);
    device.pushed(delete).await;
    let snapshot = get(&device, "/api/v2/notes?includeDeleted=true").await;
    assert_eq!(fields(&snapshot["notes"][0]), theirs, "of a tombstone too");
}

#[tokio::test]
async fn a_bootstrap_keeps_every_field_and_its_times() {
    let stack = start(&[]).await;
    let device = Device::edge(&stack);
    let mut note = every_field();
    note["id"] = json!("b1");
    note["version"] = json!(7);
    note["createdAt"] = json!(11);
    note["updatedAt"] = json!(22);
    let body = json!({"notes": [note], "sourceFingerprint": "phone-1"});
    let request = device.post("/api/v2/sync/bootstrap").json(&body);
    let answer: Value = device.send(request).await.json().await.unwrap();
    assert_eq!(
        answer,
        json!({"imported": 1, "alreadyBootstrapped": false, "cursor": 1})
    );
    let page = get(&device, "/api/v2/sync/pull?cursor=0").await;
    let kept = &page["changes"][0]["note"];
    assert_eq!(fields(kept), every_field());
    assert_eq!(
        (&kept["version"], &kept["createdAt"], &kept["updatedAt"]),
        (&json!(1), &json!(11), &json!(22))
    );
}

#[tokio::test]
async fn each_limit_holds_to_the_last_character() {
    let stack = start(&[]).await;
    let device = Device::edge(&stack);
    // Characters, not bytes.
    for (name, most, too_much) in [
        (
            "content",
            json!("ä".repeat(100_000)),
            json!("ä".repeat(100_001)),
        ),
        ("title", json!("ä".repeat(512)), json!("ä".repeat(513))),
        ("tags", json!(vec!["t"; 20]), json!(vec!["t"; 21])),
        (
            "tags",
            json!(["ä".repeat(64)]),
            json!(["ok", "ä".repeat(65)]),
        ),
        ("tags", json!([]), json!("home")),
        ("tags", json!(null), json!([1])),
        ("content", json!(""), json!(["x"])),
        ("type", json!("IDEA"), json!("POEM")),
        ("type", json!("NOTE"), json!("note")),
        ("priority", json!("low"), json!("lowest")),
        ("analysisState", json!("failed"), json!("done")),
        ("isProcessed", json!(true), json!("true")),
        ("isCompleted", json!(false), json!(0)),
        ("isArchived", json!(null), json!({})),
        ("isPinned", json!(true), json!([true])),
        ("dueDate", json!(-1), json!("tomorrow")),
        ("dueDate", json!(null), json!(1.5)),
        ("analysisVersion", json!(0), json!("3")),
        ("contentHash", json!("h".repeat(256)), json!(256)),
    ] {
        let id = uuid::Uuid::new_v4().to_string();
        let refused = device
            .push(json!([write(&id, 0, &json!({ name: too_much }))]))
            .await;
        expect_refusal(refused, 400, "BAD_REQUEST", None).await;
        let taken = device
            .pushed(json!([write(&id, 0, &json!({ name: most }))]))
            .await;
        let note = taken.applied[0].note.as_ref().unwrap();
        assert_eq!(note.fields[name], most, "{name}");
    }
}
