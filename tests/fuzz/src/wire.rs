//! The contract's types: what is read is written so that it reads the same.

use std::fmt::Debug;

use evenkeel_proto::wire::{
    AiAnswer, AiBrief, AiFound, AiSession, AiTranscript, Analysis, BootstrapAnswer,
    BootstrapRequest, ConnectRequest, DeviceList, EdgeMetrics, ErrorEnvelope, PullPage, PushAnswer,
    PushRequest, Ready, Record, RevokeAnswer, Snapshot, StreamMessage, TicketAnswer,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bytes::Bytes;

/// What parses is written as JSON that parses to the same, and is written the same again: nothing that
/// a lenient reader let in comes out as something else.
///
/// The first byte chooses the type, the rest is JSON.
pub fn wire(data: &[u8]) {
    let mut bytes = Bytes(data);
    let kind = usize::from(bytes.u8()) % KINDS.len();
    KINDS[kind].1(bytes.rest());
}

/// The byte that chooses the type which test vectors call this.
pub(crate) fn kind(name: &str) -> Option<u8> {
    let at = KINDS.iter().position(|(kind, _)| *kind == name)?;
    u8::try_from(at).ok()
}

type Kind = (&'static str, fn(&[u8]));

const KINDS: [Kind; 21] = [
    ("record", through::<Record>),
    ("pull_page", through::<PullPage>),
    ("snapshot", through::<Snapshot>),
    ("push_request", through::<PushRequest>),
    ("push_answer", through::<PushAnswer>),
    ("bootstrap_request", through::<BootstrapRequest>),
    ("bootstrap_answer", through::<BootstrapAnswer>),
    ("device_list", through::<DeviceList>),
    ("revoke_answer", through::<RevokeAnswer>),
    ("ticket_answer", written::<TicketAnswer>),
    ("error_envelope", written::<ErrorEnvelope>),
    ("connect_request", through::<ConnectRequest>),
    ("ai_session", through::<AiSession>),
    ("analysis", through::<AiAnswer<Analysis>>),
    ("found", through::<AiAnswer<AiFound>>),
    ("brief", through::<AiAnswer<AiBrief>>),
    ("transcript", through::<AiAnswer<AiTranscript>>),
    ("ready", written::<Ready>),
    ("edge_metrics", written::<EdgeMetrics>),
    ("stream_event", stream_event),
    ("sync_event", |data| event("sync", data)),
];

fn through<T: DeserializeOwned + Serialize + PartialEq + Debug>(data: &[u8]) {
    let Ok(first) = serde_json::from_slice::<T>(data) else {
        return;
    };
    let text = serde_json::to_vec(&first).unwrap();
    let second: T = serde_json::from_slice(&text).unwrap();
    assert_eq!(first, second);
    assert_eq!(text, serde_json::to_vec(&second).unwrap());
}

/// Without comparing the values themselves.
fn written<T: DeserializeOwned + Serialize>(data: &[u8]) {
    let Ok(first) = serde_json::from_slice::<T>(data) else {
        return;
    };
    let text = serde_json::to_string(&first).unwrap();
    let second: T = serde_json::from_str(&text).unwrap();
    assert_eq!(text, serde_json::to_string(&second).unwrap());
}

/// The first line is the event's name.
fn stream_event(data: &[u8]) {
    let mut bytes = Bytes(data);
    let name = String::from_utf8_lossy(bytes.line());
    event(&name, bytes.rest());
}

fn event(name: &str, data: &[u8]) {
    let data = String::from_utf8_lossy(data);
    let Ok(first) = StreamMessage::parse(name, &data) else {
        assert_eq!(name, "sync", "only a sync must be readable");
        return;
    };
    let second = StreamMessage::parse(first.event(), &first.data()).unwrap();
    assert_eq!(first, second);
}
