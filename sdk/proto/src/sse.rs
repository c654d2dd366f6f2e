//! The event stream's decoder: the WHATWG rules for `text/event-stream` to the letter, within limits.
//!
//! Ours, because a stream that a stranger writes must neither fill the memory, nor cost more than its
//! length, nor panic. It works on whatever pieces the network hands over: an event that lies within
//! one piece is lent out of it without a copy, only what spans pieces is kept.

mod line;

use std::mem;
use std::time::Duration;

use memchr::memchr2;

use line::Line;

/// How much one stream may make us keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest line, in bytes without its end.
    pub line_bytes_max: usize,
    /// The longest data of one event, in bytes, the ends of its lines included.
    pub event_bytes_max: usize,
}

impl Default for Limits {
    /// 1 MiB each.
    fn default() -> Self {
        Self {
            line_bytes_max: 1 << 20,
            event_bytes_max: 1 << 20,
        }
    }
}

/// Something that the stream said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item<'a> {
    /// An event.
    Event {
        /// Its type, `message` where the stream named none.
        event: &'a str,
        /// Its data, lines joined by `\n`.
        data: &'a str,
        /// The last event id that the stream has set, empty for none.
        id: &'a str,
    },
    /// The `retry` field: how long the server wants clients to wait before they come back.
    Retry(Duration),
    /// A comment: a sign of life.
    Comment,
}

/// The stream broke a limit. It cannot be read any further: close it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A line was longer than [`Limits::line_bytes_max`].
    #[error("a line of the event stream is longer than {bytes_max} bytes")]
    LineTooLong {
        /// The limit.
        bytes_max: usize,
    },
    /// An event's data was longer than [`Limits::event_bytes_max`].
    #[error("an event of the stream is larger than {bytes_max} bytes")]
    EventTooLarge {
        /// The limit.
        bytes_max: usize,
    },
}

/// Reads one stream. When the stream ends, drop it: an unfinished event does not count.
///
/// ```
/// use evenkeel_proto::sse::{Decoder, Item, Limits};
/// let mut decoder = Decoder::new(Limits::default());
/// let mut seen = Vec::new();
/// for mut chunk in [&b"event: sync\nda"[..], b"ta: {\"cursor\":7}\n\n"] {
///     while let Some(item) = decoder.next(&mut chunk)? {
///         if let Item::Event { event, data, .. } = item {
///             seen.push(format!("{event} {data}"));
///         }
///     }
/// }
/// assert_eq!(seen, ["sync {\"cursor\":7}"]);
/// # Ok::<(), evenkeel_proto::sse::DecodeError>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    /// What is kept of the present event's data: from this offset on, where there is any.
    data: Vec<u8>,
    data_from: Option<usize>,
    /// What is kept of the present event's type.
    event: Vec<u8>,
    id: String,
    /// What the `id` field said; valid from the end of the event on.
    next_id: Option<String>,
    /// Texts that had to be repaired, to be lent from.
    repaired: [String; 2],
    /// Nothing of the first line has been used, so it may begin with a byte order mark.
    at_start: bool,
    /// The last chunk ended with CR: a LF now belongs to it.
    after_cr: bool,
    /// What is kept was lent out with the last item and is to be forgotten.
    spent: bool,
    bytes: u64,
    failed: Option<DecodeError>,
}

impl Decoder {
    /// A decoder for a stream from its first byte.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            line: Vec::new(),
            data: Vec::new(),
            data_from: None,
            event: Vec::new(),
            id: String::new(),
            next_id: None,
            repaired: Default::default(),
            at_start: true,
            after_cr: false,
            spent: false,
            bytes: 0,
            failed: None,
        }
    }

    /// The next item; takes what it needs off the front of `chunk`. `None` when the chunk is used up:
    /// come back with the next one.
    ///
    /// # Errors
    ///
    /// The stream broke a limit, now or earlier. The items before that have all been given.
    pub fn next<'s, 'c: 's>(
        &'s mut self,
        chunk: &mut &'c [u8],
    ) -> Result<Option<Item<'s>>, DecodeError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let before = chunk.len();
        let step = self.advance(chunk);
        self.bytes += (before - chunk.len()) as u64;
        match step {
            Ok(Step::More) => Ok(None),
            Ok(Step::Comment) => Ok(Some(Item::Comment)),
            Ok(Step::Retry(wait)) => Ok(Some(Item::Retry(wait))),
            Ok(Step::Event(here)) => {
                let event = here.event.unwrap_or(&self.event);
                let kept = || &self.data[self.data_from.unwrap_or_default()..];
                let data = here.data.unwrap_or_else(kept);
                let [repaired_event, repaired_data] = &mut self.repaired;
                Ok(Some(Item::Event {
                    event: match event {
                        [] => "message",
                        event => text(event, repaired_event),
                    },
                    data: text(data, repaired_data),
                    id: &self.id,
                }))
            }
            Err(error) => {
                self.failed = Some(error);
                self.line = Vec::new();
                self.data = Vec::new();
                Err(error)
            }
        }
    }

    /// The last event id that the stream has set; empty for none.
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        &self.id
    }

    /// How many bytes of the stream have been used.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many bytes of memory the stream makes us hold, room kept for the next event included. It
    /// stays within a fixed multiple of the limits, whatever the stream says.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let texts = [&self.id, &self.repaired[0], &self.repaired[1]];
        let texts: usize = texts.map(String::capacity).iter().sum();
        let staged = self.next_id.as_ref().map_or(0, String::capacity);
        texts + staged + self.line.capacity() + self.data.capacity() + self.event.capacity()
    }

    /// Reads lines until one of them completes an item. Apart from [`Decoder::next`], so that what it
    /// returns borrows from the chunk alone.
    fn advance<'c>(&mut self, chunk: &mut &'c [u8]) -> Result<Step<'c>, DecodeError> {
        if self.spent {
            self.forget_event();
        }
        if self.after_cr && !chunk.is_empty() {
            self.after_cr = false;
            *chunk = chunk.strip_prefix(b"\n").unwrap_or(chunk);
        }
        if !self.line.is_empty() {
            let Some(end) = self.split(chunk) else {
                return self.keep(mem::take(chunk), Here::default());
            };
            self.extend_line(end)?;
            if let Some(step) = self.kept_line()? {
                return Ok(step);
            }
        }
        let mut here = Here::default();
        loop {
            let Some(mut line) = self.split(chunk) else {
                return self.keep(mem::take(chunk), here);
            };
            if line.len() > self.limits.line_bytes_max {
                return Err(self.line_too_long());
            }
            if mem::take(&mut self.at_start) {
                line = line.strip_prefix(BOM).unwrap_or(line);
            }
            match Line::parse(line) {
                Line::Blank => {
                    if self.end_event(here.data.is_some()) {
                        return Ok(Step::Event(here));
                    }
                    here = Here::default();
                }
                Line::Data(value) if self.data_from.is_none() && here.data.is_none() => {
                    if value.len() > self.limits.event_bytes_max {
                        return Err(self.event_too_large());
                    }
                    here.data = Some(value);
                }
                Line::Data(value) => {
                    if let Some(first) = here.data.take() {
                        self.append(first)?;
                    }
                    self.append(value)?;
                }
                Line::Event(value) => here.event = Some(value),
                Line::Id(value) => self.stage_id(value),
                Line::Retry(wait) => {
                    self.keep_event(here);
                    return Ok(Step::Retry(wait));
                }
                Line::Comment => {
                    self.keep_event(here);
                    return Ok(Step::Comment);
                }
                Line::Ignored => {}
            }
        }
    }

    /// Takes a line and its end off the chunk; `None` where the end has not come.
    fn split<'c>(&mut self, chunk: &mut &'c [u8]) -> Option<&'c [u8]> {
        let bytes = *chunk;
        // A vector search does not pay for the few bytes that a dripping stream hands over.
        let end = match bytes {
            [] => None,
            [byte] => matches!(byte, b'\n' | b'\r').then_some(0),
            _ => memchr2(b'\n', b'\r', bytes),
        }?;
        let (line, rest) = bytes.split_at(end);
        *chunk = match rest {
            [b'\r', b'\n', rest @ ..] => rest,
            [b'\r'] => {
                self.after_cr = true;
                &[]
            }
            [_, rest @ ..] => rest,
            [] => rest,
        };
        Some(line)
    }

    /// Handles the line that began in an earlier chunk; nothing of its event is in this one.
    fn kept_line(&mut self) -> Result<Option<Step<'static>>, DecodeError> {
        let mut kept = mem::take(&mut self.line);
        let mut line = &kept[..];
        if mem::take(&mut self.at_start) {
            line = line.strip_prefix(BOM).unwrap_or(line);
        }
        let mut step = None;
        match Line::parse(line) {
            // The chunk had the end of a line that held nothing but a byte order mark.
            Line::Blank => {
                if self.end_event(false) {
                    step = Some(Step::Event(Here::default()));
                }
            }
            Line::Data(value) if self.data_from.is_none() => {
                if value.len() > self.limits.event_bytes_max {
                    return Err(self.event_too_large());
                }
                // The whole line becomes the event's data: a large one is not copied again.
                self.data_from = Some(kept.len() - value.len());
                mem::swap(&mut self.data, &mut kept);
            }
            Line::Data(value) => self.append(value)?,
            Line::Event(value) => {
                self.event.clear();
                self.event.extend_from_slice(value);
            }
            Line::Id(value) => self.stage_id(value),
            Line::Retry(wait) => step = Some(Step::Retry(wait)),
            Line::Comment => step = Some(Step::Comment),
            Line::Ignored => {}
        }
        self.line = reusable(kept);
        Ok(step)
    }

    /// The chunk is used up: keeps its last line, which has no end yet, and its part of the event.
    fn keep(&mut self, rest: &[u8], here: Here<'_>) -> Result<Step<'static>, DecodeError> {
        self.extend_line(rest)?;
        self.keep_event(here);
        Ok(Step::More)
    }

    fn extend_line(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        if bytes.len() > self.limits.line_bytes_max - self.line.len() {
            return Err(self.line_too_long());
        }
        if self.line.capacity() == 0 {
            // Payloads tend to have round sizes: with room for the field's name beside them, the
            // last doubling is spared.
            self.line.reserve(bytes.len() + FIELD_NAME_BYTES);
        }
        match bytes {
            [byte] => self.line.push(*byte),
            _ => self.line.extend_from_slice(bytes),
        }
        Ok(())
    }

    fn keep_event(&mut self, here: Here<'_>) {
        if let Some(event) = here.event {
            self.event.clear();
            self.event.extend_from_slice(event);
        }
        if let Some(data) = here.data {
            self.data.extend_from_slice(data);
            self.data_from = Some(0);
        }
    }

    /// Adds a line to the kept data.
    fn append(&mut self, value: &[u8]) -> Result<(), DecodeError> {
        let before = match self.data_from {
            Some(from) => self.data.len() - from + 1,
            None => 0,
        };
        if before + value.len() > self.limits.event_bytes_max {
            return Err(self.event_too_large());
        }
        if self.data_from.is_some() {
            self.data.push(b'\n');
        }
        self.data_from.get_or_insert(0);
        self.data.extend_from_slice(value);
        Ok(())
    }

    /// A blank line: says whether there is an event to give.
    fn end_event(&mut self, data_here: bool) -> bool {
        if let Some(id) = self.next_id.take() {
            self.id = id;
        }
        let given = data_here || self.data_from.is_some();
        if given {
            self.spent = true;
        } else {
            self.event.clear();
        }
        given
    }

    fn forget_event(&mut self) {
        self.spent = false;
        self.event.clear();
        if self.data_from.take().is_some() {
            self.data = reusable(mem::take(&mut self.data));
        }
    }

    fn stage_id(&mut self, value: &[u8]) {
        if !value.contains(&0) {
            self.next_id = Some(String::from_utf8_lossy(value).into_owned());
        }
    }

    const fn line_too_long(&self) -> DecodeError {
        DecodeError::LineTooLong {
            bytes_max: self.limits.line_bytes_max,
        }
    }

    const fn event_too_large(&self) -> DecodeError {
        DecodeError::EventTooLarge {
            bytes_max: self.limits.event_bytes_max,
        }
    }
}

/// What [`Decoder::advance`] came to.
enum Step<'c> {
    More,
    Comment,
    Retry(Duration),
    Event(Here<'c>),
}

/// The part of an event that lies in the present chunk, each field standing in for the kept one.
#[derive(Clone, Copy, Default)]
struct Here<'c> {
    event: Option<&'c [u8]>,
    data: Option<&'c [u8]>,
}

/// The bytes as text; what is not UTF-8 is replaced.
fn text<'a>(bytes: &'a [u8], repaired: &'a mut String) -> &'a str {
    str::from_utf8(bytes).unwrap_or_else(|_| {
        repaired.clear();
        repaired.push_str(&String::from_utf8_lossy(bytes));
        repaired
    })
}

/// The buffer without its content, and without its room where one large event made it too large to
/// hold on to for the life of a stream.
fn reusable(mut buffer: Vec<u8>) -> Vec<u8> {
    if buffer.capacity() > KEPT_BYTES_MAX {
        return Vec::new();
    }
    buffer.clear();
    buffer
}

const BOM: &[u8] = b"\xef\xbb\xbf";
const FIELD_NAME_BYTES: usize = 64;
const KEPT_BYTES_MAX: usize = 64 * 1024;
