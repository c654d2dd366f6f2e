//! Evenkeel for Swift and Kotlin: the SDK as flat calls, for uniffi.
//!
//! The languages' own packages put their manners on top (`AsyncStream`, `Flow`, typed records), so here is
//! only what cannot be said there. A client has a tokio runtime of its own, which ends with it. Every call
//! answers with a typed error, a panic included. A stream is an object with `next` and `cancel`; whatever
//! waits takes a [`CancelToken`], since a task that is cancelled in Swift does not drop its future here.
//! Records are JSON text. Spans are whole milliseconds, moments are milliseconds since 1970.

mod account;
mod ai;
mod app;
mod client;
mod config;
mod data;
mod errors;
mod feeds;
mod names;
mod open;
mod records;
mod runtime;
mod status;
mod writes;

pub use account::{DeviceInfo, SignOut};
pub use ai::{AiFeed, AiNote, AiSession, AiState, AiStatus, Analysis, EvenkeelAi};
pub use app::{ListenerError, StatusListener, TokenProvider, TokenProviderError};
pub use client::{EvenkeelClient, Network, SyncReport};
pub use config::EvenkeelConfig;
pub use data::{WriteHandle, recover_store};
pub use errors::{
    AiError, ClientError, DataError, FailureInfo, OpenError, RequestError, SyncOnceError,
};
pub use feeds::{ChangeFeed, ListFeed, RecordFeed, Subscription};
pub use names::{Ask, Cause, Layer, Lifecycle, Link, Origin, OutboxLevel, SyncState, TokenReason};
pub use records::{
    Bootstrap, Change, ImportedRecord, ListQuery, Order, RecordLook, RecordPage, Recovery,
    StoredRecord,
};
pub use runtime::CancelToken;
pub use status::SyncStatus;
pub use writes::{
    Clash, Conflict, PendingWrite, PendingWrites, RejectReason, Rejected, Resolution, Verdict,
};

uniffi::setup_scaffolding!();
