//! Answers that are read item by item.

use std::fmt::Debug;

use evenkeel_proto::wire::{Listing, PullPage, ReadError, Scale, Snapshot, read_list};
use serde_json::Value;
use serde_json::de::{IoRead, SliceRead};

use crate::bytes::Bytes;

/// Read item by item from memory, item by item from a file, or as a whole: the same answer, or no
/// answer. Whoever wants no more gets no more. And it weighs what was judged by its bytes alone.
///
/// The first byte chooses page or snapshot and where to stop, the rest is JSON.
pub fn list(data: &[u8]) {
    let mut bytes = Bytes(data);
    let chosen = bytes.u8();
    let stop_at = usize::from(chosen >> 1) % 8;
    let json = bytes.rest();
    weighs(json, usize::from(chosen));
    if chosen & 1 == 0 {
        agree::<PullPage>(json, stop_at);
    } else {
        agree::<Snapshot>(json, stop_at);
    }
}

/// However it is cut, it weighs the same; and a tree is never heavier than it was judged.
fn weighs(json: &[u8], cut: usize) {
    let whole = Scale::of(json);
    let mut scale = Scale::default();
    for piece in json.chunks(cut + 1) {
        scale.add(piece);
    }
    assert_eq!(scale.tree_bytes(), whole.tree_bytes());
    assert!(Scale::fits(json, whole.tree_bytes()));
    if let Ok(tree) = serde_json::from_slice::<Value>(json) {
        assert!(held(&tree) <= whole.tree_bytes() + json.len(), "{tree}");
    }
}

/// What a tree holds on the heap, at least.
fn held(tree: &Value) -> usize {
    match tree {
        Value::String(text) => text.capacity(),
        Value::Array(list) => {
            list.capacity() * size_of::<Value>() + list.iter().map(held).sum::<usize>()
        }
        Value::Object(map) => {
            let entry = size_of::<(u64, String, Value)>();
            let entries = map
                .iter()
                .map(|(name, value)| name.capacity() + held(value) + entry);
            entries.sum()
        }
        _ => 0,
    }
}

fn agree<W: Listing + PartialEq + Debug + Clone>(json: &[u8], stop_at: usize) {
    let whole = serde_json::from_slice::<W>(json).ok();
    let mut items = Vec::new();
    let read = read_list::<W, ()>(SliceRead::new(json), |item| {
        items.push(item);
        Ok(())
    });
    let given = items.len();
    let from_memory = read.ok().map(|rest| rest.with(items));
    assert_eq!(from_memory, whole, "from memory");
    let mut items = Vec::new();
    let read = read_list::<W, ()>(IoRead::new(json), |item| {
        items.push(item);
        Ok(())
    });
    assert_eq!(read.ok().map(|rest| rest.with(items)), whole, "from a file");

    let mut taken = 0;
    let stopped = read_list::<W, &str>(SliceRead::new(json), |_| {
        taken += 1;
        if taken > stop_at {
            Err("enough")
        } else {
            Ok(())
        }
    });
    if given > stop_at {
        assert!(matches!(stopped, Err(ReadError::Stopped("enough"))));
        assert_eq!(taken, stop_at + 1, "nothing more after that");
    }
}
