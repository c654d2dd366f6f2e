//! Why a client could not be opened.

use evenkeel::{BuildError, store};

use crate::runtime::Broken;

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
