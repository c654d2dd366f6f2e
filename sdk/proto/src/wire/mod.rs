//! The contract as types: lenient in, strict out.
//!
//! Read: unknown fields and values are tolerated, `null` means absent, cursors, versions and times
//! may be strings. Written: camelCase names, numbers as numbers, absent instead of `null`.
//! Everything past this module works with these types only.

mod ai;
mod cookie;
mod data;
mod device;
mod error;
mod lenient;
mod list;
mod metrics;
mod number;
mod open;
pub mod path;
mod push;
mod ready;
mod record;
mod scale;
mod secret;
mod stream;
mod ticket;

pub use ai::{
    AiAnswer, AiBrief, AiContent, AiContents, AiFound, AiNote, AiNotes, AiProvider, AiQuery,
    AiRecording, AiScope, AiSession, AiTask, AiTranscript, Analysis, ConnectRequest,
};
pub use cookie::{AI_SESSION_COOKIE, SameSite, SetCookie, TICKET_COOKIE};
pub use data::{
    BOOTSTRAP_NOTES_MAX, BootstrapAnswer, BootstrapRequest, Change, Op, PULL_CHANGES_MAX, PullPage,
    ResetReason, Snapshot,
};
pub use device::{Device, DeviceList, RevokeAnswer};
pub use error::{ErrorEnvelope, PlainError, ServiceError};
pub use list::{Listing, ReadError, read_list};
pub use metrics::{
    AuthConfig, EdgeCounters, EdgeMetrics, FailureCauses, ProxyCircuit, Reliability, RuntimeConfig,
    SecretRotation,
};
pub use number::{Cursor, UnixMillis, Version};
pub use push::{
    Applied, Conflict, Operation, PUSH_OPERATIONS_MAX, PushAnswer, PushRequest, REQUEST_ID_CHARS,
};
pub use ready::{
    Database, Dependencies, Ready, ReadyCause, ReadyMode, Realtime, RealtimeMode, Redis,
    StreamTicketStore,
};
pub use record::Record;
pub use scale::Scale;
pub use secret::Secret;
pub use stream::{HeartbeatEvent, ReadyEvent, StreamMessage, SyncEvent};
pub use ticket::TicketAnswer;
