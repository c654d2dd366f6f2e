//! What can go wrong by the app's doing; trouble of the service is in the status, not in errors.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use evenkeel_proto::Failure;

use crate::status::Status;

/// The client could not be built. Nothing was started or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The service's URL is not acceptable: it must be `https` (or `http` on loopback), without user,
    /// password, query and fragment. Correct it.
    #[error("the service's URL is not usable: {reason}")]
    Url {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There is no token provider. Give one.
    #[error("there is no token provider")]
    TokenProviderMissing,
    /// The device id given is not a UUID of version 1 to 8 (RFC variant). Give none, and one is made.
    #[error("the device id is not a UUID of version 1 to 8")]
    DeviceId,
    /// A limit, timeout or text is out of range. Correct it.
    #[error("setting `{name}`: {reason}")]
    Setting {
        /// Which one.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// An extra root certificate cannot be read. Check its form (PEM or DER).
    #[error("an extra root certificate cannot be used: {reason}")]
    Certificate {
        /// What is wrong with it.
        reason: String,
    },
    /// The proxy's URL cannot be used. Correct it.
    #[error("the proxy's URL cannot be used")]
    Proxy,
    /// The service is on this machine without TLS, and the proxy is not: the token would leave the
    /// machine in the clear. Use [`ProxySetting::None`](crate::ProxySetting::None).
    #[error("the proxy would carry a loopback service's requests off this machine, in the clear")]
    ProxyElsewhere,
    /// TLS could not be set up on this system, for want of root certificates for instance.
    #[error("TLS cannot be set up: {reason}")]
    Tls {
        /// Why.
        reason: String,
    },
    /// The HTTP client could not be set up.
    #[error("the HTTP client cannot be set up: {reason}")]
    Http {
        /// Why.
        reason: String,
    },
    /// A file in the state directory holds something else than this client writes there. It was left
    /// as it is: look at it; if it can go, delete it and build again (a new device id registers as a
    /// new device).
    #[error("state file {} is not readable as ours: {reason}", path.display())]
    StateCorrupt {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The state directory cannot be read or written. Give another one, or make room or rights.
    #[error("state file {} cannot be read or written", path.display())]
    StateUnusable {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The client could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// This thread runs in no tokio runtime. Call from within one, or use
    /// [`start_on`](crate::SyncClient::start_on).
    #[error("not within a tokio runtime")]
    NoRuntime,
}

/// `suspend` did not come to its end in time. The client is suspended nevertheless: it sends
/// nothing, and what is named here ends by itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SuspendError {
    /// Something was still under way at the deadline. Call again, or go on without.
    #[error("{} step(s) still under way at the deadline", left.len())]
    Unfinished {
        /// The lanes that were still at work.
        left: Vec<crate::Lane>,
    },
}

/// `sync_once` did not reach its goal. The client goes back to what it was doing before.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncOnceError {
    /// The client could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The deadline came first. What was applied until then stays; try at the next occasion.
    #[error("not up to date within the time given")]
    Deadline {
        /// How things stood.
        status: Box<Status>,
    },
    /// A failure stands in the way, and the next attempt would come after the deadline, or only the
    /// app can do something: see the status.
    #[error("not up to date: {}", cause_of(status))]
    Failed {
        /// How things stood.
        status: Box<Status>,
    },
    /// The client was stopped or suspended meanwhile.
    #[error("the client was stopped or suspended meanwhile")]
    Interrupted,
}

/// A request that the app made was not answered as wanted.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// This future runs in no tokio runtime. Await it in one.
    #[error("not within a tokio runtime")]
    NoRuntime,
    /// The client is suspended: nothing was sent. Resume it first.
    #[error("the client is suspended")]
    Suspended,
    /// The service asked this client to stay away: nothing was sent. Ask again after that time.
    #[error("the service asked to be left alone for another {} s", wait.as_secs() + 1)]
    Held {
        /// How long from now.
        wait: Duration,
    },
    /// The service refused, or could not be reached; see the failure's cause.
    #[error(transparent)]
    Failed(#[from] Failure),
}

fn cause_of(status: &Status) -> &'static str {
    status.cause.map_or("unknown cause", |cause| cause.as_str())
}
