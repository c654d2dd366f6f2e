//! Each decoder behind one face, so that all are measured by the same loop.

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::pin::pin;

use bytes::Bytes;
use evenkeel_proto::sse::{Decoder, Item, Limits};
use eventsource_client::{Client, ClientBuilder, ReconnectOptions, SSE};
use eventsource_stream::Eventsource;
use futures_util::{StreamExt, stream};
use launchdarkly_sdk_transport::{ByteStream, HttpTransport, ResponseFuture};

/// What came out of a stream: enough to see that two decoders read the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// How many events.
    pub events: usize,
    /// How many bytes their types and data have.
    pub bytes: usize,
}

impl Seen {
    fn event(&mut self, event: &str, data: &str) {
        self.events += 1;
        self.bytes += event.len() + data.len();
    }
}

/// A decoder's name and how to run it over a stream cut into chunks of a length.
pub type Contender = (&'static str, fn(&'static [u8], usize) -> Seen);

/// Ours first, then the peers.
pub const CONTENDERS: [Contender; 5] = [
    ("evenkeel-proto", ours),
    ("evenkeel-proto, copied out", ours_copied),
    ("sse-core 0.2", sse_core),
    ("eventsource-client 0.18", eventsource_client),
    ("eventsource-stream 0.2.3", eventsource_stream),
];

/// Events are looked at where they are.
pub fn ours(stream: &'static [u8], chunk: usize) -> Seen {
    run_ours(stream, chunk, |seen, event, data| seen.event(event, data))
}

/// Every event is made into two `String`s, as the peers do.
pub fn ours_copied(stream: &'static [u8], chunk: usize) -> Seen {
    run_ours(stream, chunk, |seen, event, data| {
        let (event, data) = std::hint::black_box((event.to_owned(), data.to_owned()));
        seen.event(&event, &data);
    })
}

fn run_ours(stream: &'static [u8], chunk: usize, each: fn(&mut Seen, &str, &str)) -> Seen {
    let limits = Limits {
        line_bytes_max: BYTES_MAX,
        event_bytes_max: BYTES_MAX,
    };
    let mut decoder = Decoder::new(limits);
    let mut seen = Seen::default();
    for mut chunk in stream.chunks(chunk) {
        while let Some(item) = decoder.next(&mut chunk).expect("within the limits") {
            if let Item::Event { event, data, .. } = item {
                each(&mut seen, event, data);
            }
        }
    }
    seen
}

/// Its decoder is without I/O, as ours is.
pub fn sse_core(stream: &'static [u8], chunk: usize) -> Seen {
    let limit = NonZeroUsize::new(BYTES_MAX).expect("not zero");
    let mut decoder = sse_core::SseDecoder::with_limit(limit);
    let mut seen = Seen::default();
    for mut chunk in stream.chunks(chunk) {
        while let Some(event) = decoder.next(&mut chunk) {
            if let sse_core::SseEvent::Message(message) = event.expect("within the limits") {
                seen.event(&message.event, &message.data);
            }
        }
    }
    seen
}

/// Its decoder is a `Stream` over a `Stream`: driven over one that is always ready.
pub fn eventsource_stream(stream: &'static [u8], chunk: usize) -> Seen {
    let chunks = stream::iter(stream.chunks(chunk).map(Ok::<_, Infallible>));
    block_on(async {
        let mut seen = Seen::default();
        let mut events = pin!(chunks.eventsource());
        while let Some(event) = events.next().await {
            let event = event.expect("readable");
            seen.event(&event.event, &event.data);
        }
        seen
    })
}

/// Its decoder is private: the whole client is driven, over a transport that answers from memory.
pub fn eventsource_client(stream: &'static [u8], chunk: usize) -> Seen {
    let client = ClientBuilder::for_url("http://memory.invalid/")
        .expect("a URL")
        .reconnect(ReconnectOptions::reconnect(false).build())
        .build_with_transport(Memory { stream, chunk });
    block_on(async {
        let mut seen = Seen::default();
        let mut events = client.stream();
        while let Some(event) = events.next().await {
            match event {
                Ok(SSE::Event(event)) => seen.event(&event.event_type, &event.data),
                Ok(_) => {}
                Err(eventsource_client::Error::Eof) => break,
                Err(error) => panic!("{error}"),
            }
        }
        seen
    })
}

#[derive(Clone)]
struct Memory {
    stream: &'static [u8],
    chunk: usize,
}

impl HttpTransport for Memory {
    fn request(&self, _: http::Request<Option<Bytes>>) -> ResponseFuture {
        let chunks = self
            .stream
            .chunks(self.chunk)
            .map(|chunk| Ok(Bytes::from_static(chunk)));
        let body: ByteStream = Box::pin(stream::iter(chunks));
        Box::pin(std::future::ready(Ok(http::Response::new(body))))
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
        .block_on(future)
}

/// Ours and sse-core's default limits would refuse the event of 16 MiB.
const BYTES_MAX: usize = 64 << 20;
