//! Read item by item, a page or a snapshot is the same as read at once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::convert::Infallible;
use std::io::{BufReader, Read};
use std::path::Path;

use evenkeel_proto::wire::{Listing, PullPage, ReadError, Snapshot, read_list};
use proptest::prelude::*;
use serde_json::de::{IoRead, SliceRead};
use serde_json::{Value, json};

fn by_item<'de, W: Listing>(from: impl serde_json::de::Read<'de>) -> Result<W, serde_json::Error> {
    let mut items = Vec::new();
    let take = |item| -> Result<(), Infallible> {
        items.push(item);
        Ok(())
    };
    match read_list::<W, _>(from, take) {
        Ok(rest) => Ok(rest.with(items)),
        Err(ReadError::Unreadable(error)) => Err(error),
        Err(ReadError::Stopped(never)) => match never {},
    }
}

/// Reads one way and the other; what both come to. Whether the page can be read for short.
fn compare(body: &[u8]) -> bool {
    let at_once = serde_json::from_slice::<PullPage>(body);
    let from_file = || IoRead::new(BufReader::with_capacity(7, Dripping(body)));
    same(&at_once, &by_item(SliceRead::new(body)), body);
    same(&at_once, &by_item(from_file()), body);
    let whole = serde_json::from_slice::<Snapshot>(body);
    same(&whole, &by_item(SliceRead::new(body)), body);
    same(&whole, &by_item(from_file()), body);
    at_once.is_ok() || whole.is_ok()
}

fn same<T: PartialEq + std::fmt::Debug>(
    one: &Result<T, serde_json::Error>,
    other: &Result<T, serde_json::Error>,
    body: &[u8],
) {
    let body = String::from_utf8_lossy(body);
    match (one, other) {
        (Ok(one), Ok(other)) => assert_eq!(one, other, "{body}"),
        (Err(one), Err(other)) => assert_eq!(one.classify(), other.classify(), "{body}"),
        _ => panic!("{one:?}, but {other:?}: {body}"),
    }
}

/// Gives a byte or two at a time, as a socket may.
struct Dripping<'a>(&'a [u8]);

impl Read for Dripping<'_> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let len = to.len().min(1 + self.0.len() % 2).min(self.0.len());
        let (now, later) = self.0.split_at(len);
        to[..len].copy_from_slice(now);
        self.0 = later;
        Ok(len)
    }
}

#[test]
fn every_vector_reads_the_same_item_by_item() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/wire");
    let mut read = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let vector: Value = serde_json::from_str(&text).unwrap();
        let kind = vector["kind"].as_str().unwrap();
        if kind == "pull_page" || kind == "snapshot" {
            compare(vector["body"].to_string().as_bytes());
            read += 1;
        }
    }
    assert!(read >= 7, "only {read} vectors");
}

#[test]
fn what_is_odd_reads_the_same_item_by_item() {
    let note = r#"{"id":"n","version":"2","content":"é\u00e9\ud83d\ude00"}"#;
    let change = format!(r#"{{"cursor":"1","op":"upsert","note":{note}}}"#);
    let good = [
        format!(r#"{{"changes":[{change}],"nextCursor":1}}"#),
        format!(r#"{{"nextCursor":"1","resetRequired":null,"changes":[{change},{change}]}}"#),
        format!(r#"{{"later":{{"changes":[1]}},"changes":[{change}],"nextCursor":1,"more":[]}}"#),
        format!(r#" {{ "\u0063hanges" : [ {change} ] , "nextCursor" : 1.0 }} "#),
        r#"{"changes":null,"nextCursor":1}"#.to_owned(),
        r#"{"nextCursor":1,"resetRequired":true,"resetReason":"WORN_OUT"}"#.to_owned(),
        format!(r#"{{"notes":[{note}],"cursor":"9"}}"#),
        format!(r#"{{"cursor":9,"notes":[{note},{note}],"notesTotal":2}}"#),
        r#"{"notes":null,"cursor":9}"#.to_owned(),
    ];
    for body in &good {
        assert!(compare(body.as_bytes()), "{body}");
        for end in 0..body.trim_end().len() {
            assert!(!compare(&body.as_bytes()[..end]), "cut at {end}: {body}");
        }
    }
    let bad = [
        String::new(),
        "null".into(),
        "7".into(),
        "[]".into(),
        "{}".into(),
        "<html>".into(),
        r#"{"changes":{},"nextCursor":1}"#.into(),
        r#"{"changes":"none","nextCursor":1}"#.into(),
        r#"{"changes":[],"nextCursor":-1}"#.into(),
        r#"{"changes":[],"nextCursor":1} and more"#.into(),
        r#"{"changes":[],"changes":[],"nextCursor":1}"#.into(),
        r#"{"changes":[],"nextCursor":1,"nextCursor":1}"#.into(),
        r#"{"changes":[{"cursor":1,"op":"upsert","note":{"id":"n"}}],"nextCursor":1}"#.into(),
        format!(r#"{{"changes":[{change},7],"nextCursor":1}}"#),
        format!(r#"{{"notes":[{note}]}}"#),
        "\u{feff}{\"changes\":[],\"nextCursor\":1}".into(),
        format!(
            r#"{{"changes":{}{},"nextCursor":1}}"#,
            "[".repeat(300),
            "]".repeat(300)
        ),
    ];
    for body in &bad {
        assert!(!compare(body.as_bytes()), "{body}");
    }
}

#[test]
fn whoever_takes_the_items_can_stop() {
    let body =
        json!({"notes": [{"id": "a", "version": 1}, {"id": "b", "version": 1}], "cursor": 1});
    let body = body.to_string();
    let mut taken = 0;
    let stopped = read_list::<Snapshot, _>(SliceRead::new(body.as_bytes()), |_| {
        taken += 1;
        Err("full")
    });
    assert!(matches!(stopped, Err(ReadError::Stopped("full"))));
    assert_eq!(taken, 1);
}

#[test]
fn a_source_that_fails_is_not_taken_for_a_bad_body() {
    let source = br#"{"notes":[{"#.chain(Broken);
    let read = by_item::<Snapshot>(IoRead::new(BufReader::new(source)));
    assert!(read.unwrap_err().is_io());
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::Error::other("a bad sector"))
    }
}

proptest! {
    #[test]
    fn a_damaged_page_reads_the_same_item_by_item(
        at in 0..200_usize,
        with in prop::collection::vec(any::<u8>(), 0..3),
        cut in 0..3_usize,
    ) {
        let body = br#"{"changes":[{"cursor":1,"op":"upsert","note":{"id":"n","version":2,"content":"x","n":[1,null]},"requestId":"r"},{"cursor":2,"op":"later"}],"nextCursor":"2","resetRequired":false,"x":{"y":0}}"#;
        let at = at.min(body.len());
        let mut damaged = body[..at].to_vec();
        damaged.extend(with);
        damaged.extend(&body[(at + cut).min(body.len())..]);
        // At the top level serde takes a list for an object; the contract does not.
        prop_assume!(!damaged.trim_ascii_start().starts_with(b"["));
        compare(&damaged);
    }
}

#[test]
fn what_is_no_list_says_what_was_expected() {
    for (body, expected) in [
        ("7", "an object with the list `changes`"),
        (r#"{"changes": 7, "nextCursor": 1}"#, "a list"),
        (
            r#"{"changes": [], "nextCursor": true}"#,
            "a whole number in range",
        ),
    ] {
        let error = by_item::<PullPage>(SliceRead::new(body.as_bytes())).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}
