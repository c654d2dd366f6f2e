//! The event stream's decoder against a slow and simple one.

use std::time::Duration;

use evenkeel_proto::sse::{DecodeError, Decoder, Item, Limits};

use crate::bytes::Bytes;

/// However the bytes are cut, the decoder says what a plain reading of the rules says, breaks off
/// where that breaks off, and never holds more than a fixed multiple of its limits.
///
/// The first three bytes set the limits, the fourth the random cut, the rest is the stream.
pub fn decoder(data: &[u8]) {
    let mut bytes = Bytes(data);
    let limits = Limits {
        line_bytes_max: usize::from(bytes.u8()) * if bytes.bool() { 64 } else { 1 } + 1,
        event_bytes_max: usize::from(bytes.u8()) + 1,
    };
    let mut rng = fastrand::Rng::with_seed(u64::from(bytes.u8()));
    let stream = bytes.rest();
    let expected = plain_reading(stream, limits);
    let whole = |_: usize| stream.len();
    assert_eq!(read(stream, limits, whole), expected, "in one piece");
    assert_eq!(read(stream, limits, |_| 1), expected, "byte by byte");
    let cut = |_: usize| rng.usize(0..9);
    assert_eq!(read(stream, limits, cut), expected, "in random pieces");
}

#[derive(Debug, PartialEq)]
enum Said {
    Event {
        event: String,
        data: String,
        id: String,
    },
    Retry(Duration),
    Comment,
}

type Heard = (Vec<Said>, Option<DecodeError>);

fn read(stream: &[u8], limits: Limits, mut piece: impl FnMut(usize) -> usize) -> Heard {
    let mut decoder = Decoder::new(limits);
    let mut said = Vec::new();
    let mut at = 0;
    let mut empty = 0;
    while at < stream.len() {
        let end = (at + piece(at)).min(stream.len());
        empty = if end == at { empty + 1 } else { 0 };
        let mut chunk = &stream[at..if empty > 3 { at + 1 } else { end }];
        at += chunk.len();
        loop {
            let item = match decoder.next(&mut chunk) {
                Ok(Some(item)) => own(&item),
                Ok(None) => break,
                Err(error) => {
                    // What is broken stays broken, and holds nothing.
                    assert_eq!(decoder.next(&mut &b"data: x\n\n"[..]), Err(error));
                    return (said, Some(error));
                }
            };
            said.push(item);
        }
        assert!(chunk.is_empty(), "a piece was not used up");
        assert_eq!(decoder.bytes(), at as u64);
        let room = 4 * limits.line_bytes_max + 4 * limits.event_bytes_max;
        let held = decoder.held_bytes();
        assert!(held <= 3 * room + 1024, "{held} bytes are held");
    }
    (said, None)
}

fn own(item: &Item<'_>) -> Said {
    match *item {
        Item::Event { event, data, id } => Said::Event {
            event: event.into(),
            data: data.into(),
            id: id.into(),
        },
        Item::Retry(wait) => Said::Retry(wait),
        Item::Comment => Said::Comment,
        ref other => panic!("an item of an unknown kind: {other:?}"),
    }
}

/// The rules as they are written down, over the stream as a whole.
fn plain_reading(stream: &[u8], limits: Limits) -> Heard {
    let mut said = Vec::new();
    let (mut event, mut data, mut id) = (Vec::new(), None::<Vec<u8>>, String::new());
    let mut next_id = None;
    let mut first = true;
    let mut rest = stream;
    loop {
        let end = rest.iter().position(|b| matches!(b, b'\r' | b'\n'));
        let line = &rest[..end.unwrap_or(rest.len())];
        if line.len() > limits.line_bytes_max {
            let bytes_max = limits.line_bytes_max;
            return (said, Some(DecodeError::LineTooLong { bytes_max }));
        }
        let Some(end) = end else {
            return (said, None);
        };
        let crlf = rest[end..].starts_with(b"\r\n");
        rest = &rest[end + if crlf { 2 } else { 1 }..];
        let line = if first {
            line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
        } else {
            line
        };
        first = false;
        if line.is_empty() {
            id = next_id.take().unwrap_or(id);
            if let Some(data) = data.take() {
                said.push(Said::Event {
                    event: if event.is_empty() {
                        "message".into()
                    } else {
                        lossy(&event)
                    },
                    data: lossy(&data),
                    id: id.clone(),
                });
            }
            event.clear();
            continue;
        }
        let colon = line.iter().position(|b| *b == b':');
        let (name, value) = match colon {
            Some(0) => {
                said.push(Said::Comment);
                continue;
            }
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &line[line.len()..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"event" => event = value.to_vec(),
            b"data" => {
                let mut whole = data.take().map_or(Vec::new(), |mut so_far| {
                    so_far.push(b'\n');
                    so_far
                });
                whole.extend_from_slice(value);
                if whole.len() > limits.event_bytes_max {
                    let bytes_max = limits.event_bytes_max;
                    return (said, Some(DecodeError::EventTooLarge { bytes_max }));
                }
                data = Some(whole);
            }
            b"id" if !value.contains(&0) => next_id = Some(lossy(value)),
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let ms = lossy(value).parse().unwrap_or(u64::MAX);
                said.push(Said::Retry(Duration::from_millis(ms)));
            }
            _ => {}
        }
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
