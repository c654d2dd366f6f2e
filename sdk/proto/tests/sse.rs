//! The event stream: the vectors in every chunking, and the promises about arbitrary bytes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use evenkeel_proto::sse::{DecodeError, Decoder, Item, Limits};
use proptest::prelude::*;
use serde_json::{Value, json};

#[test]
fn every_vector_in_its_chunks_in_one_and_byte_by_byte() {
    for vector in vectors() {
        let name = vector["name"].as_str().unwrap();
        let chunks = chunks(&vector);
        let whole = chunks.concat();
        let one_by_one: Vec<Vec<u8>> = whole.iter().map(|&byte| vec![byte]).collect();
        for cut in [chunks, vec![whole], one_by_one] {
            let (items, error, decoder) = decode(limits(&vector), &cut);
            assert_eq!(Value::Array(items), vector["items"], "{name}");
            assert_eq!(error.map_or(Value::Null, named), vector["error"], "{name}");
            if let Some(id) = vector["last_event_id"].as_str() {
                assert_eq!(decoder.last_event_id(), id, "{name}");
            }
        }
    }
}

#[test]
fn every_vector_cut_in_two_anywhere() {
    for vector in vectors() {
        let whole = chunks(&vector).concat();
        for at in 0..=whole.len() {
            let cut = [whole[..at].to_vec(), whole[at..].to_vec()];
            let (items, error, _) = decode(limits(&vector), &cut);
            assert_eq!(
                Value::Array(items),
                vector["items"],
                "{} at {at}",
                vector["name"]
            );
            assert_eq!(error.map_or(Value::Null, named), vector["error"]);
        }
    }
}

#[test]
fn a_broken_limit_stays_broken() {
    let mut decoder = Decoder::new(Limits {
        line_bytes_max: 4,
        event_bytes_max: 4,
    });
    let mut chunk = &b"data: x\n\n"[..];
    let error = decoder.next(&mut chunk).unwrap_err();
    assert_eq!(error, DecodeError::LineTooLong { bytes_max: 4 });
    assert_eq!(decoder.next(&mut &b"\n"[..]), Err(error));
}

#[test]
fn what_is_held_is_what_did_not_end_yet() {
    let held = |chunks: &[Vec<u8>]| {
        let (items, error, decoder) = decode(Limits::default(), chunks);
        assert_eq!((items, error), (Vec::new(), None));
        decoder.held_bytes()
    };
    assert_eq!(held(&[]), 0);
    let x = |n| "x".repeat(n);
    let parts = [
        format!("id: {}\n\n", x(1_000)),
        format!("id: {}\n", x(2_000)),
        format!("event: {}\n", x(3_000)),
        format!("data: {}\n", x(4_000)),
        format!("data: {}", x(5_000)),
    ];
    // A byte at a time: nothing can be lent out of a chunk.
    let bytes = parts.concat().into_bytes();
    let all = held(&bytes.into_iter().map(|byte| vec![byte]).collect::<Vec<_>>());
    assert!((15_000..=2 * 15_100).contains(&all), "{all}");
    let line = held(&[format!("data: {}", x(16_000)).into_bytes()]);
    assert!((16_000..=17_000).contains(&line), "{line}");
}

#[test]
fn room_is_kept_for_the_next_event_but_not_that_of_a_large_one() {
    let held_after = |bytes: usize| {
        let event = format!("data: {}\ndata: x\n\n:\n", "x".repeat(bytes));
        let chunks: Vec<_> = event.as_bytes().chunks(1_000).map(<[u8]>::to_vec).collect();
        let (items, error, decoder) = decode(Limits::default(), &chunks);
        assert_eq!(error, None);
        let events = items.iter().filter(|item| item.get("data").is_some());
        assert_eq!(events.count(), 1);
        decoder.held_bytes()
    };
    let (small, large) = (held_after(5_000), held_after(500_000));
    assert!((5_000..64 * 1024).contains(&small), "{small}");
    assert!(large < 64 * 1024, "{large}");
}

#[test]
fn an_event_within_one_chunk_is_lent_out_of_it() {
    let bytes = b"event: sync\ndata: {\"cursor\":7}\n\n".to_vec();
    let mut decoder = Decoder::new(Limits::default());
    let mut chunk = &bytes[..];
    let Some(Item::Event { data, .. }) = decoder.next(&mut chunk).unwrap() else {
        panic!("no event");
    };
    assert!(bytes.as_ptr_range().contains(&data.as_ptr()));
}

#[test]
fn every_byte_is_counted_once() {
    let mut decoder = Decoder::new(Limits::default());
    for mut chunk in [&b"data: a\r"[..], b"\n\r", b"\n: hm\nda"] {
        while decoder.next(&mut chunk).unwrap().is_some() {}
        assert!(chunk.is_empty());
    }
    assert_eq!(decoder.bytes(), 18);
}

#[test]
fn one_large_event_costs_its_length() {
    let size = 8 << 20;
    let limits = Limits {
        line_bytes_max: size + 6,
        event_bytes_max: size,
    };
    let stream = [b"data: ".to_vec(), vec![b'x'; size], b"\n\n".to_vec()].concat();
    let mut decoder = Decoder::new(limits);
    let mut found = 0;
    for mut chunk in stream.chunks(7) {
        while let Some(item) = decoder.next(&mut chunk).unwrap() {
            let Item::Event { data, .. } = item else {
                panic!("{item:?}")
            };
            found = data.len();
        }
    }
    assert_eq!(found, size);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_chunking_gives_the_same_items(
        stream in stream(),
        cuts in prop::collection::vec(0..200_usize, 0..20),
        line_bytes_max in 0..40_usize,
        event_bytes_max in 0..40_usize,
    ) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|at| at.min(stream.len())).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let cut: Vec<Vec<u8>> = cuts.windows(2).map(|w| stream[w[0]..w[1]].to_vec()).collect();
        for limits in [Limits::default(), Limits { line_bytes_max, event_bytes_max }] {
            let (items, error, _) = decode(limits, &cut);
            let (expected, expected_error, _) = decode(limits, std::slice::from_ref(&stream));
            prop_assert_eq!(&items, &expected);
            prop_assert_eq!(error, expected_error);
        }
    }

    #[test]
    fn it_reads_what_a_plain_reading_of_the_rules_reads(stream in stream()) {
        let (items, error, _) = decode(Limits::default(), std::slice::from_ref(&stream));
        prop_assert_eq!(error, None);
        prop_assert_eq!(items, by_the_book(&stream));
    }

    #[test]
    fn no_bytes_panic_it(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20)) {
        decode(Limits { line_bytes_max: 64, event_bytes_max: 64 }, &chunks);
    }
}

/// Bytes that have a chance of meaning something.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        &b"data"[..],
        b"data:",
        b"data: ",
        b"event: ",
        b"event",
        b"id: ",
        b"id",
        b"retry: ",
        b"retry:",
        b":",
        b" ",
        b"\n",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\r\r",
        b"\r\n\r\n",
        b"x",
        b"12",
        b"\0",
        b"\xef\xbb\xbf",
        b"\xef\xbb",
        b"\xf0\x9f\x98\x80",
        b"\xff",
        b"\xc3",
        b"abcdefghij",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// The standard's algorithm as it is written there, over the whole stream at once.
fn by_the_book(stream: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(stream);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    // What follows the last line's end is no line.
    let Some((text, _)) = text.rsplit_once('\n') else {
        return Vec::new();
    };
    let (mut items, mut data, mut event) = (Vec::new(), String::new(), String::new());
    let (mut id, mut last_id) = (String::new(), String::new());
    for line in text.split('\n') {
        if line.is_empty() {
            last_id.clone_from(&id);
            if let Some(data) = data.strip_suffix('\n') {
                let event = if event.is_empty() { "message" } else { &event };
                items.push(json!({"event": event, "data": data, "id": last_id}));
            }
            data.clear();
            event.clear();
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => items.push(json!({"comment": true})),
            "event" => event = value.to_owned(),
            "data" => data = format!("{data}{value}\n"),
            "id" if !value.contains('\0') => id = value.to_owned(),
            "retry" if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => {
                items.push(json!({"retry_ms": value.parse().unwrap_or(u64::MAX)}));
            }
            _ => {}
        }
    }
    items
}

fn decode(limits: Limits, chunks: &[Vec<u8>]) -> (Vec<Value>, Option<DecodeError>, Decoder) {
    let mut decoder = Decoder::new(limits);
    let mut items = Vec::new();
    for mut chunk in chunks.iter().map(Vec::as_slice) {
        loop {
            items.push(match decoder.next(&mut chunk) {
                Ok(Some(Item::Event { event, data, id })) => {
                    json!({"event": event, "data": data, "id": id})
                }
                Ok(Some(Item::Retry(wait))) => {
                    json!({"retry_ms": u64::try_from(wait.as_millis()).unwrap()})
                }
                Ok(Some(Item::Comment)) => json!({"comment": true}),
                Ok(Some(item)) => panic!("{item:?}"),
                Ok(None) => break,
                Err(error) => return (items, Some(error), decoder),
            });
        }
    }
    (items, None, decoder)
}

fn named(error: DecodeError) -> Value {
    match error {
        DecodeError::LineTooLong { .. } => json!("line_too_long"),
        DecodeError::EventTooLarge { .. } => json!("event_too_large"),
        error => panic!("{error:?}"),
    }
}

fn vectors() -> Vec<Value> {
    serde_json::from_str(include_str!("../../../tests/vectors/sse.json")).unwrap()
}

fn limits(vector: &Value) -> Limits {
    let limit = |name: &str| usize::try_from(vector["limits"][name].as_u64()?).ok();
    match (limit("line_bytes_max"), limit("event_bytes_max")) {
        (Some(line_bytes_max), Some(event_bytes_max)) => Limits {
            line_bytes_max,
            event_bytes_max,
        },
        _ => Limits::default(),
    }
}

fn chunks(vector: &Value) -> Vec<Vec<u8>> {
    if let Some(chunks) = vector["chunks"].as_array() {
        return chunks
            .iter()
            .map(|text| text.as_str().unwrap().as_bytes().to_vec())
            .collect();
    }
    let unhex = |text: &str| {
        let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(byte).collect()
    };
    let chunks = vector["chunks_hex"].as_array().unwrap();
    chunks
        .iter()
        .map(|text| unhex(text.as_str().unwrap()))
        .collect()
}
