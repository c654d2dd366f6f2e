//! The event stream, from bytes to what the engine wants to know.

use bytes::Bytes;
use evenkeel_proto::engine::StreamEvent;
use evenkeel_proto::failure::Request;
use evenkeel_proto::sse::{self, DecodeError, Decoder, Item};
use evenkeel_proto::wire::{Secret, StreamMessage};
use evenkeel_proto::{Cause, Failure};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use super::{body, classify};
use crate::settings::Limits;

/// A stream whose headers have come.
pub(crate) struct OpenStream {
    response: reqwest::Response,
    decoder: Decoder,
    chunk: Bytes,
    /// How much of the chunk has been read.
    read: usize,
}

/// What comes through a stream.
#[derive(Debug)]
pub(crate) enum StreamItem {
    Event(StreamEvent),
    /// The end: proper, or not.
    Closed(Option<Failure>),
}

/// Takes the answer for a stream if it is one.
pub(super) async fn accept(
    response: reqwest::Response,
    ticket: &Secret,
    limits: &Limits,
) -> Result<OpenStream, Failure> {
    let typed = response.headers().get(CONTENT_TYPE);
    let is_stream = typed
        .and_then(|value| value.to_str().ok())
        .map(|value| value.split(';').next().unwrap_or("").trim())
        .is_some_and(|value| value.eq_ignore_ascii_case("text/event-stream"));
    if response.status().as_u16() != 200 || !is_stream {
        let bytes_max = limits.small_bytes_max;
        return Err(body::refusal(Request::Events, &[ticket], response, bytes_max).await);
    }
    let coding = response.headers().get(CONTENT_ENCODING);
    if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        let message = "the stream is compressed, which nobody asked for";
        return Err(Failure::local(Cause::BadResponse, message));
    }
    let decoder = Decoder::new(sse::Limits {
        line_bytes_max: limits.event_bytes_max,
        event_bytes_max: limits.event_bytes_max,
    });
    Ok(OpenStream {
        response,
        decoder,
        chunk: Bytes::new(),
        read: 0,
    })
}

impl OpenStream {
    /// What comes next; nothing after [`StreamItem::Closed`].
    pub(crate) async fn next(&mut self) -> StreamItem {
        loop {
            match self.decode() {
                Ok(Some(event)) => return StreamItem::Event(event),
                Ok(None) => {}
                Err(error) => return StreamItem::Closed(Some(too_large(error))),
            }
            match self.response.chunk().await {
                Ok(Some(chunk)) => (self.chunk, self.read) = (chunk, 0),
                Ok(None) => return StreamItem::Closed(None),
                Err(error) => return StreamItem::Closed(Some(classify(&error))),
            }
        }
    }

    fn decode(&mut self) -> Result<Option<StreamEvent>, DecodeError> {
        let mut rest = &self.chunk[self.read..];
        let item = self.decoder.next(&mut rest);
        let event = item.map(|item| item.map(|item| event(&item)));
        self.read = self.chunk.len() - rest.len();
        event
    }
}

fn event(item: &Item<'_>) -> StreamEvent {
    match item {
        Item::Retry(span) => StreamEvent::Retry(*span),
        Item::Event { event, data, .. } => match StreamMessage::parse(event, data) {
            Ok(StreamMessage::Ready(_)) => StreamEvent::Ready,
            Ok(StreamMessage::Heartbeat(_)) => StreamEvent::Heartbeat,
            Ok(StreamMessage::Sync(sync)) => StreamEvent::Sync(sync.cursor),
            Ok(_) => StreamEvent::Other,
            Err(_) => {
                tracing::warn!(target: "evenkeel", "a sync event without a readable cursor");
                StreamEvent::Other
            }
        },
        _ => StreamEvent::Other,
    }
}

fn too_large(error: DecodeError) -> Failure {
    Failure::local(Cause::ResponseTooLarge, error.to_string())
}
