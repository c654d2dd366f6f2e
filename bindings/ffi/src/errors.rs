//! What can go wrong, and what the app can do about it.

use evenkeel::store;
use evenkeel::{BuildError, Failure};

use crate::names::{Cause, Layer};
use crate::runtime::Broken;
use crate::status::{SyncStatus, ms};

/// One failure of the service, or on the way there.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct FailureInfo {
    /// Why.
    pub cause: Cause,
    /// Whose fault.
    pub layer: Layer,
    /// The answer's HTTP status, where there was an answer.
    pub http_status: Option<u16>,
    /// The service's own code.
    pub code: Option<String>,
    /// How long the service asked to be left alone.
    pub retry_after_ms: Option<i64>,
    /// For people: one line without secrets.
    pub text: String,
}

impl From<Failure> for FailureInfo {
    fn from(failure: Failure) -> Self {
        Self {
            cause: failure.cause.into(),
            layer: failure.layer.into(),
            http_status: failure.http_status,
            code: failure.code,
            retry_after_ms: failure.retry_after.map(ms),
            text: failure.message,
        }
    }
}

/// The client could not be opened, or the store not recovered. Nothing was started; a file that was there
/// is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
#[uniffi::export(Display)]
pub enum OpenError {
    /// The service's URL is not usable: it must be `https` (or `http` on loopback), without user, password,
    /// query and fragment. Correct it.
    #[error("the service's URL is not usable: {reason}")]
    Url {
        /// What is wrong with it.
        reason: String,
    },
    /// The device id is not a UUID. Give none, and one is made.
    #[error("the device id is not a UUID of version 1 to 8")]
    DeviceId,
    /// A setting is out of range. Correct it.
    #[error("setting `{name}`: {reason}")]
    Setting {
        /// Which one.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An extra root certificate cannot be read. Check its form.
    #[error("an extra root certificate cannot be used: {reason}")]
    Certificate {
        /// What is wrong with it.
        reason: String,
    },
    /// The proxy cannot be used, or would carry a loopback service's requests off this machine. Correct it.
    #[error("the proxy cannot be used")]
    Proxy,
    /// TLS or HTTP could not be set up on this system, for want of root certificates for instance.
    #[error("the network cannot be set up: {reason}")]
    Network {
        /// Why.
        reason: String,
    },
    /// A file in the state folder holds something else than this client writes there. Look at it; if it can
    /// go, delete it (a new device id registers as a new device).
    #[error("state file {path} is not readable as ours: {reason}")]
    StateCorrupt {
        /// Which file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The state folder cannot be read or written. Give another one, or make room or rights.
    #[error("state file {path} cannot be read or written: {reason}")]
    StateUnusable {
        /// Which file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// The store belongs to another account. Open another file, or sign that account out with a wipe first.
    #[error("the store belongs to another account")]
    WrongAccount,
    /// The file is something else than a store. Choose another path.
    #[error("{path} is not a store")]
    NotAStore {
        /// Which file.
        path: String,
    },
    /// A later release wrote this store. Ask the user to update the app.
    #[error("the store has format {found}, this release knows up to {known}")]
    NewerStore {
        /// The file's format.
        found: i64,
        /// The latest one that this release knows.
        known: i64,
    },
    /// The store is damaged: `recover_store` saves what the app wrote.
    #[error("the store is damaged: {reason}")]
    StoreCorrupt {
        /// What was found.
        reason: String,
    },
    /// Another process kept the store to itself for several seconds. Try again.
    #[error("the store is in use elsewhere")]
    StoreBusy,
    /// No room is left to open it. Ask the user to make some.
    #[error("no room is left for the store")]
    StoreFull,
    /// The file cannot be opened, made or read. Look at path and rights.
    #[error("{path} cannot be opened: {reason}")]
    StoreUnusable {
        /// Which file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// A fault in this library, or the system has no thread left. Report it.
    #[error("{reason}")]
    Internal {
        /// What happened.
        reason: String,
    },
}

impl From<store::OpenError> for OpenError {
    fn from(error: store::OpenError) -> Self {
        use store::OpenError as From;
        let shown = |path: &std::path::Path| path.display().to_string();
        match error {
            From::WrongAccount => Self::WrongAccount,
            From::Setting { name } => Self::Setting {
                name: name.into(),
                reason: "out of range".into(),
            },
            From::NotAStore { path } => Self::NotAStore { path: shown(&path) },
            From::Newer { found, known } => Self::NewerStore { found, known },
            From::Corrupt { message } => Self::StoreCorrupt { reason: message },
            From::Busy => Self::StoreBusy,
            From::Full => Self::StoreFull,
            From::Unusable { path, message } => Self::StoreUnusable {
                path: shown(&path),
                reason: message,
            },
            other => Self::internal(other.to_string()),
        }
    }
}

impl From<BuildError> for OpenError {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::Url { reason } => Self::Url {
                reason: reason.into(),
            },
            BuildError::DeviceId => Self::DeviceId,
            BuildError::Setting { name, reason } => Self::Setting {
                name: name.into(),
                reason,
            },
            BuildError::Certificate { reason } => Self::Certificate { reason },
            BuildError::Proxy | BuildError::ProxyElsewhere => Self::Proxy,
            BuildError::Tls { reason } | BuildError::Http { reason } => Self::Network { reason },
            BuildError::StateCorrupt { path, reason } => Self::StateCorrupt {
                path: path.display().to_string(),
                reason,
            },
            BuildError::StateUnusable { path, source } => Self::StateUnusable {
                path: path.display().to_string(),
                reason: source.to_string(),
            },
            other => Self::internal(other.to_string()),
        }
    }
}

impl Broken for OpenError {
    fn closed() -> Self {
        Self::internal("the runtime ended".into())
    }

    fn cancelled() -> Self {
        Self::closed()
    }

    fn internal(reason: String) -> Self {
        Self::Internal { reason }
    }
}

macro_rules! broken {
    ($($name:ident),+) => {$(
        impl Broken for $name {
            fn closed() -> Self {
                Self::Closed
            }

            fn cancelled() -> Self {
                Self::Cancelled
            }

            fn internal(reason: String) -> Self {
                Self::Internal { reason }
            }
        }
    )+};
}

broken!(ClientError, DataError, SyncOnceError, RequestError, AiError);

/// A call that steers the client failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
#[uniffi::export(Display)]
pub enum ClientError {
    /// The client was closed. Open another one.
    #[error("the client is closed")]
    Closed,
    /// The app cancelled the call.
    #[error("cancelled")]
    Cancelled,
    /// `suspend` did not come to its end in time. The client is suspended nevertheless, and what is named
    /// here ends by itself.
    #[error("still under way at the deadline: {}", left.join(", "))]
    Unfinished {
        /// What was still under way: `pull`, `push`, `stream`, …
        left: Vec<String>,
    },
    /// A fault in this library. Report it.
    #[error("{reason}")]
    Internal {
        /// What happened.
        reason: String,
    },
}

impl From<evenkeel::SuspendError> for ClientError {
    fn from(error: evenkeel::SuspendError) -> Self {
        match error {
            evenkeel::SuspendError::Unfinished { left } => Self::Unfinished {
                left: left.iter().map(|lane| lane.as_str().to_owned()).collect(),
            },
            other => Self::internal(other.to_string()),
        }
    }
}

/// A call to the store failed; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
#[uniffi::export(Display)]
pub enum DataError {
    /// As many writes wait (or are in conflict, or parked) as are kept. Wait until some are sent, or have
    /// the user decide some.
    #[error("the outbox is full with {kept} writes")]
    OutboxFull {
        /// How many there are.
        kept: u32,
    },
    /// A record's id must have 1 to 128 characters. Correct it.
    #[error("a record's id must have 1 to 128 characters")]
    Id,
    /// There is no such record, conflict or parked write. Look again what there is.
    #[error("there is nothing of that kind by this id")]
    NotFound,
    /// A text is not what it should be: a record is an object in JSON, a bookmark one that a page gave.
    /// Correct it.
    #[error("not readable: {reason}")]
    Json {
        /// What is wrong with it, without its content.
        reason: String,
    },
    /// No room is left. Ask the user to make some.
    #[error("no room is left for the store")]
    Full,
    /// The store is damaged. Close the client; `recover_store` saves what the app wrote.
    #[error("the store is damaged: {reason}")]
    Corrupt {
        /// What was found.
        reason: String,
    },
    /// The client was closed or signed out, here or in another process. Open it again.
    #[error("the store is closed")]
    Closed,
    /// The client is suspended, and its files are closed. Resume it first.
    #[error("the store is suspended")]
    Suspended,
    /// Another process wrote for several seconds without a pause. Try again.
    #[error("another process keeps the store busy")]
    Busy,
    /// The app cancelled the call. A write may have been done: read the record.
    #[error("cancelled")]
    Cancelled,
    /// Anything else, in the store or in this library. Report it.
    #[error("{reason}")]
    Internal {
        /// What happened, without content of records.
        reason: String,
    },
}

impl From<store::StoreError> for DataError {
    fn from(error: store::StoreError) -> Self {
        use store::StoreError as From;
        match error {
            From::OutboxFull { kept } => Self::OutboxFull { kept },
            From::Id => Self::Id,
            From::NotFound => Self::NotFound,
            From::Shape { message } => Self::Json { reason: message },
            From::Full => Self::Full,
            From::Corrupt { message } => Self::Corrupt { reason: message },
            From::Closed => Self::Closed,
            From::Suspended => Self::Suspended,
            From::Busy => Self::Busy,
            other => Self::internal(other.to_string()),
        }
    }
}

/// `sync_once` did not reach its goal. The client goes back to what it was doing before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
#[uniffi::export(Display)]
pub enum SyncOnceError {
    /// The deadline came first. What was applied until then stays; try at the next occasion.
    #[error("not up to date within the time given")]
    Deadline {
        /// How things stood.
        status: SyncStatus,
    },
    /// A failure stands in the way, and the next attempt would come after the deadline, or only the app can
    /// do something. See the status; try at the next occasion.
    #[error("not up to date: {:?}", status.cause)]
    Failed {
        /// How things stood.
        status: SyncStatus,
    },
    /// The client was stopped or suspended meanwhile.
    #[error("the client was stopped or suspended meanwhile")]
    Interrupted,
    /// The app cancelled the call. What was applied until then stays.
    #[error("cancelled")]
    Cancelled,
    /// The client was closed. Open another one.
    #[error("the client is closed")]
    Closed,
    /// A fault in this library. Report it.
    #[error("{reason}")]
    Internal {
        /// What happened.
        reason: String,
    },
}

impl From<evenkeel::SyncOnceError> for SyncOnceError {
    fn from(error: evenkeel::SyncOnceError) -> Self {
        use evenkeel::SyncOnceError as From;
        match error {
            From::Deadline { status } => Self::Deadline {
                status: (*status).into(),
            },
            From::Failed { status } => Self::Failed {
                status: (*status).into(),
            },
            From::Interrupted => Self::Interrupted,
            other => Self::internal(other.to_string()),
        }
    }
}

/// A request that the app made was not answered as wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
#[uniffi::export(Display)]
pub enum RequestError {
    /// The client is suspended: nothing was sent. Resume it first.
    #[error("the client is suspended")]
    Suspended,
    /// The service asked to be left alone: nothing was sent. Ask again after that time.
    #[error("the service asked to be left alone for another {wait_ms} ms")]
    Held {
        /// How long from now.
        wait_ms: i64,
    },
    /// The service refused, or could not be reached. See the cause.
    #[error("{}", failure.text)]
    Failed {
        /// What went wrong.
        failure: FailureInfo,
    },
    /// The app cancelled the call. The service may have done it.
    #[error("cancelled")]
    Cancelled,
    /// The client was closed. Open another one.
    #[error("the client is closed")]
    Closed,
    /// A fault in this library. Report it.
    #[error("{reason}")]
    Internal {
        /// What happened.
        reason: String,
    },
}

impl From<evenkeel::RequestError> for RequestError {
    fn from(error: evenkeel::RequestError) -> Self {
        use evenkeel::RequestError as From;
        match error {
            From::Suspended => Self::Suspended,
            From::Held { wait } => Self::Held { wait_ms: ms(wait) },
            From::Failed(failure) => Self::Failed {
                failure: failure.into(),
            },
            other => Self::internal(other.to_string()),
        }
    }
}

/// A call for AI came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
#[uniffi::export(Display)]
pub enum AiError {
    /// No provider is connected, or it does not take its key any more. Ask the user for one, and connect.
    #[error("no AI provider is connected")]
    NotConnected,
    /// An earlier failure has to be waited out for longer than the call may take: nothing was sent. Ask
    /// again after that time.
    #[error("AI is to be left alone for another {wait_ms} ms")]
    Held {
        /// How long from now.
        wait_ms: i64,
        /// What that failure was.
        cause: Cause,
    },
    /// The service or its provider refused, failed, or could not be reached. See the cause.
    #[error("{}", failure.text)]
    Failed {
        /// The last failure.
        failure: FailureInfo,
        /// How many requests were sent.
        attempts: u32,
    },
    /// The app cancelled the call.
    #[error("cancelled")]
    Cancelled,
    /// The client was closed. Open another one.
    #[error("the client is closed")]
    Closed,
    /// A fault in this library. Report it.
    #[error("{reason}")]
    Internal {
        /// What happened.
        reason: String,
    },
}

impl From<evenkeel::AiError> for AiError {
    fn from(error: evenkeel::AiError) -> Self {
        use evenkeel::AiError as From;
        match error {
            From::NotConnected => Self::NotConnected,
            From::Held { wait, cause } => Self::Held {
                wait_ms: ms(wait),
                cause: cause.into(),
            },
            From::Failed { failure, attempts } => Self::Failed {
                failure: failure.into(),
                attempts,
            },
            other => Self::internal(other.to_string()),
        }
    }
}
