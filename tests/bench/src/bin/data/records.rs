//! The records that everybody is measured with: about 250 bytes each.

use serde_json::{Map, Value, json};

pub fn fields(n: u64) -> Map<String, Value> {
    let value = json!({"content": format!("a note with some words in it, number {n}, {}", "x".repeat(150)),
        "title": "milk and eggs", "tags": ["shop", "today"], "isPinned": false, "priority": "normal"});
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

pub fn text(n: u64) -> String {
    serde_json::to_string(&fields(n)).expect("JSON")
}

/// The page of changes after `from`.
pub fn page(from: u64) -> Vec<u8> {
    let changes = (from + 1..=from + PAGE_CHANGES).map(|n| {
        let mut note =
            json!({"id": format!("note-{n:08}"), "version": 1, "createdAt": n, "updatedAt": n});
        if let Value::Object(note) = &mut note {
            note.extend(fields(n));
        }
        json!({"cursor": n, "op": "upsert", "note": note, "requestId": format!("request-{n:012}")})
    });
    let changes: Vec<_> = changes.collect();
    json!({"changes": changes, "nextCursor": from + PAGE_CHANGES})
        .to_string()
        .into_bytes()
}

pub const PAGE_CHANGES: u64 = 500;
