//! Answers that are read item by item.

use std::fmt::Debug;

use evenkeel_proto::wire::{Listing, PullPage, ReadError, Snapshot, read_list};
use serde_json::de::{IoRead, SliceRead};

use crate::bytes::Bytes;

/// Read item by item from memory, item by item from a file, or as a whole: the same answer, or no
/// answer. And whoever wants no more gets no more.
///
/// The first byte chooses page or snapshot and where to stop, the rest is JSON.
pub fn list(data: &[u8]) {
    let mut bytes = Bytes(data);
    let chosen = bytes.u8();
    let stop_at = usize::from(chosen >> 1) % 8;
    let json = bytes.rest();
    if chosen & 1 == 0 {
        agree::<PullPage>(json, stop_at);
    } else {
        agree::<Snapshot>(json, stop_at);
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
