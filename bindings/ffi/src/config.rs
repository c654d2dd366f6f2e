//! What an app sets before the client exists.

use std::path::PathBuf;
use std::time::Duration;

use evenkeel::store::{Durability, StoreOptions};
use evenkeel::{Limits, ProxySetting, SyncClient, SyncClientBuilder, Timeouts};

/// How a client is made. The first three are required; the others suit most apps as they are.
#[derive(Clone, Debug, uniffi::Record)]
pub struct EvenkeelConfig {
    /// Where the service is: `https`, or `http` on loopback; a base path is kept.
    pub url: String,
    /// Whose data it is, in 1 to 256 characters; a store belongs to one account.
    pub account_id: String,
    /// The store's file, in a folder that exists.
    pub store_path: String,
    /// A folder for the device's id, and for how long the service asked to be left alone. Made where it is
    /// missing. `<store_path>.state` where none is given.
    #[uniffi(default = None)]
    pub state_dir: Option<String>,
    /// This device's id: a UUID. One is made and kept where none is given.
    #[uniffi(default = None)]
    pub device_id: Option<String>,
    /// Whether a write survives a power cut. Without it, it survives a crash of the app.
    #[uniffi(default = true)]
    pub durable: bool,
    /// Certificates in PEM that are trusted beside the system's.
    #[uniffi(default = None)]
    pub extra_root_certificates: Option<String>,
    /// `http://host:port` of a proxy, or `none` for a direct way. As the environment says where none is
    /// given.
    #[uniffi(default = None)]
    pub proxy: Option<String>,
    /// Never more requests than this, 6 to 180. 80.
    #[uniffi(default = None)]
    pub requests_per_minute: Option<u32>,
    /// From this many kept writes on the status says `backlog`. 500.
    #[uniffi(default = None)]
    pub outbox_soft_max: Option<u32>,
    /// A write that would make it more than this is refused. 1,000.
    #[uniffi(default = None)]
    pub outbox_hard_max: Option<u32>,
    /// The store's file grows no further, in bytes; 1 MiB at least. No limit.
    #[uniffi(default = None)]
    pub store_bytes_max: Option<u64>,
    /// To a connection, TLS included. 10,000.
    #[uniffi(default = None)]
    pub connect_timeout_ms: Option<u32>,
    /// For one answer of the token provider, up to 30,000. 20,000.
    #[uniffi(default = None)]
    pub token_timeout_ms: Option<u32>,
    /// For one call of AI, its waits and repeats included. 60,000.
    #[uniffi(default = None)]
    pub ai_timeout_ms: Option<u32>,
    /// How often the client asks while the stream does not work. 30,000.
    #[uniffi(default = None)]
    pub poll_every_ms: Option<u32>,
    /// How the client calls itself. `evenkeel/<version>`.
    #[uniffi(default = None)]
    pub user_agent: Option<String>,
    /// Seeds all jitter. For tests only: clients that share one come back at the same moment.
    #[uniffi(default = None)]
    pub seed: Option<u64>,
}

impl EvenkeelConfig {
    pub(crate) fn store_options(&self) -> StoreOptions {
        let mut options = StoreOptions::default();
        if !self.durable {
            options.durability = Durability::Fast;
        }
        set(&mut options.outbox_soft_max, self.outbox_soft_max);
        set(&mut options.outbox_hard_max, self.outbox_hard_max);
        options.bytes_max = self.store_bytes_max;
        options
    }

    pub(crate) fn builder(&self) -> SyncClientBuilder {
        let mut limits = Limits::default();
        set(&mut limits.requests_per_minute, self.requests_per_minute);
        let mut timeouts = Timeouts::default();
        let span = |ms: Option<u32>| ms.map(|ms| Duration::from_millis(ms.into()));
        set(&mut timeouts.connect, span(self.connect_timeout_ms));
        set(&mut timeouts.token, span(self.token_timeout_ms));
        set(&mut timeouts.ai, span(self.ai_timeout_ms));
        set(&mut timeouts.poll_every, span(self.poll_every_ms));
        let beside = || format!("{}.state", self.store_path);
        let state_dir = self.state_dir.clone().unwrap_or_else(beside);
        let mut builder = SyncClient::builder(&self.url)
            .state_dir(PathBuf::from(state_dir))
            .limits(limits)
            .timeouts(timeouts);
        if let Some(id) = &self.device_id {
            builder = builder.device_id(id);
        }
        if let Some(pem) = &self.extra_root_certificates {
            builder = builder.extra_root_certificates(pem.as_bytes());
        }
        if let Some(proxy) = &self.proxy {
            builder = builder.proxy(match proxy.as_str() {
                "none" => ProxySetting::None,
                url => ProxySetting::Url(url.to_owned()),
            });
        }
        if let Some(name) = &self.user_agent {
            builder = builder.user_agent(name);
        }
        if let Some(seed) = self.seed {
            builder = builder.seed(seed);
        }
        builder
    }
}

fn set<T>(setting: &mut T, to: Option<T>) {
    if let Some(to) = to {
        *setting = to;
    }
}
