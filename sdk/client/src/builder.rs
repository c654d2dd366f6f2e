//! Everything that can be set before the client exists.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use evenkeel_proto::wire::Secret;
use http::HeaderValue;
use tokio::sync::{broadcast, watch};
use uuid::Uuid;

use crate::ai::AiClient;
use crate::client::SyncClient;
use crate::clock;
use crate::diagnostics::{Journal, Settings};
use crate::error::BuildError;
use crate::mailbox::Mailbox;
use crate::replica::{MemoryReplica, Replica, ReplicaSignal};
use crate::settings::{Limits, ProxySetting, TicketCarrier, Timeouts};
use crate::shared::Shared;
use crate::state::{FloorFile, StateDir, Until, is_device_id};
use crate::status::Status;
use crate::token::{AnyProvider, FixedToken, TokenProvider, Tokens};
use crate::transport::{Adapter, Endpoints, Recipe, Resolver, Transport, certificates, tls_config};

/// Makes a [`SyncClient`]. Only the token is required.
#[must_use = "nothing is built before `build`"]
pub struct SyncClientBuilder {
    url: String,
    tokens: Option<Box<dyn AnyProvider>>,
    replica: Option<Arc<dyn Replica>>,
    device_id: Option<String>,
    state_dir: Option<PathBuf>,
    user_agent: String,
    limits: Limits,
    timeouts: Timeouts,
    carrier: TicketCarrier,
    roots: Vec<Vec<u8>>,
    proxy: ProxySetting,
    resolver: Option<Arc<dyn Resolver>>,
    seed: Option<u64>,
}

impl SyncClientBuilder {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            tokens: None,
            replica: None,
            device_id: None,
            state_dir: None,
            user_agent: concat!("evenkeel/", env!("CARGO_PKG_VERSION")).to_owned(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            carrier: TicketCarrier::default(),
            roots: Vec::new(),
            proxy: ProxySetting::default(),
            resolver: None,
            seed: None,
        }
    }

    /// Where the bearer token comes from. Required, unless [`token`](Self::token) is used.
    pub fn token_provider(mut self, provider: impl TokenProvider) -> Self {
        self.tokens = Some(Box::new(provider));
        self
    }

    /// A token that cannot be refreshed, for tools: when the service refuses it, the status asks to
    /// sign in.
    pub fn token(self, token: Secret) -> Self {
        self.token_provider(FixedToken(token))
    }

    /// Where the data lives. A [`MemoryReplica`] by default, which is not durable.
    pub fn replica(mut self, replica: impl Replica) -> Self {
        self.replica = Some(Arc::new(replica));
        self
    }

    /// This device's id: a UUID of version 1 to 8. By default one is made, and kept in the
    /// [`state_dir`](Self::state_dir). The service binds tickets and revocation to it, so it must
    /// stay the same for ever.
    pub fn device_id(mut self, id: impl Into<String>) -> Self {
        self.device_id = Some(id.into());
        self
    }

    /// A directory for what must survive a restart: the device's id, and until when the server asked
    /// this client to stay away. Made where it is missing. Without it each build is another device,
    /// and a restart forgets the server's wish.
    pub fn state_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(path.into());
        self
    }

    /// How the client calls itself. `evenkeel/<version>`.
    pub fn user_agent(mut self, name: impl Into<String>) -> Self {
        self.user_agent = name.into();
        self
    }

    /// Limits on sizes and rates.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How long things may take.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// How stream tickets travel.
    pub fn ticket_carrier(mut self, carrier: TicketCarrier) -> Self {
        self.carrier = carrier;
        self
    }

    /// Trusts these roots beside the system's: certificates in PEM (one or more), or one in DER.
    pub fn extra_root_certificates(mut self, pem_or_der: impl Into<Vec<u8>>) -> Self {
        self.roots.push(pem_or_der.into());
        self
    }

    /// Which way requests go.
    pub fn proxy(mut self, proxy: ProxySetting) -> Self {
        self.proxy = proxy;
        self
    }

    /// Finds the service's addresses in the app's own way.
    pub fn resolver(mut self, resolver: impl Resolver) -> Self {
        self.resolver = Some(Arc::new(resolver));
        self
    }

    /// Seeds all jitter, so that a run can be repeated. For tests only: two clients that share a seed
    /// come back at the same moment.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Checks everything, and makes a client that does nothing until it is started. Needs no runtime;
    /// reads and writes the state directory, and the system's root certificates.
    ///
    /// # Errors
    ///
    /// See [`BuildError`]. Nothing was started.
    pub fn build(mut self) -> Result<SyncClient, BuildError> {
        let tokens = self.take_tokens().ok_or(BuildError::TokenProviderMissing)?;
        let replica = self.replica.take();
        let rng = self.rng();
        let Prepared {
            settings,
            transport,
            floor_file,
            until,
            limits,
            timeouts,
        } = self.prepare()?;
        let replica = replica.unwrap_or_else(|| Arc::new(MemoryReplica::new()));
        let shared = Arc::new(Shared {
            tokens,
            ai: Mutex::default(),
            status: watch::Sender::new(Status::initial(replica.backlog())),
            changes: broadcast::Sender::new(limits.changes_waiting_max),
            settings,
            limits,
            timeouts,
            seed: Mutex::new(rng),
            transport,
            floor_file,
            floors: Mutex::new(until),
            asked_to_wait: Mutex::new(clock::now()),
            mailbox: Mailbox::new(),
            journal: Mutex::new(Journal::default()),
            hints: Mutex::default(),
            wakes: Mutex::default(),
            at_work: Mutex::default(),
            caught_up: watch::Sender::default(),
            runtime: Mutex::default(),
            replica,
        });
        shared
            .replica
            .attach(ReplicaSignal(Arc::downgrade(&shared)));
        Ok(SyncClient::new(shared))
    }

    /// Checks everything, and makes a client for the service's AI alone, beside a sync client
    /// ([`SyncClient::ai`]) or without one. The token may be left out: the AI session belongs to this
    /// device then. Of the settings, what concerns syncing alone is without effect.
    ///
    /// # Errors
    ///
    /// See [`BuildError`]. Nothing was sent.
    pub fn build_ai(mut self) -> Result<AiClient, BuildError> {
        let tokens = self.take_tokens();
        let rng = self.rng();
        let Prepared {
            transport,
            timeouts,
            ..
        } = self.prepare()?;
        Ok(AiClient::new(transport, tokens, rng, timeouts.ai))
    }

    fn take_tokens(&mut self) -> Option<Arc<Tokens>> {
        let provider = self.tokens.take()?;
        Some(Arc::new(Tokens::new(provider, self.timeouts.token)))
    }

    fn rng(&self) -> fastrand::Rng {
        let seed = self.seed.unwrap_or_else(|| Uuid::new_v4().as_u64_pair().1);
        fastrand::Rng::with_seed(seed)
    }

    /// What every client of this service is made of.
    fn prepare(self) -> Result<Prepared, BuildError> {
        let endpoints = Endpoints::parse(&self.url)?;
        self.limits.check()?;
        self.timeouts.check()?;
        let user_agent = user_agent(&self.user_agent)?;
        let mut roots = Vec::new();
        for bytes in &self.roots {
            roots.extend(certificates(bytes)?);
        }
        let extra_roots = roots.len();
        let given = self.device_id.as_deref().map(device_id).transpose()?;

        let state = self.state_dir.map(StateDir::open).transpose()?;
        let device_id = match (given, &state) {
            (Some(id), _) => id,
            (None, Some(state)) => state.device_id()?,
            (None, None) => Uuid::new_v4(),
        };
        let kept = state.as_ref().map(StateDir::floors).transpose()?;
        let (floor_file, until) = match kept {
            Some((file, until)) => (Some(file), until.unwrap_or_default()),
            None => (None, Until::default()),
        };

        let settings = Settings {
            url: endpoints.as_str().to_owned(),
            device_id: device_id.to_string(),
            user_agent: self.user_agent,
            ticket_carrier: self.carrier,
            proxy: self.proxy.as_str(),
            custom_resolver: self.resolver.is_some(),
            extra_roots,
            state_dir: floor_file.is_some(),
            limits: self.limits.clone(),
            timeouts: self.timeouts.clone(),
        };
        let recipe = Recipe {
            tls: tls_config(roots)?,
            user_agent,
            connect_timeout: self.timeouts.connect,
            proxy: self.proxy,
            resolver: self.resolver.map(Adapter::new),
        };
        let transport = Transport::new(
            endpoints,
            recipe,
            self.limits.clone(),
            self.timeouts.clone(),
            self.carrier,
            device_id,
        )?;
        Ok(Prepared {
            settings,
            transport,
            floor_file,
            until,
            limits: self.limits,
            timeouts: self.timeouts,
        })
    }
}

/// What every client of this service is made of.
struct Prepared {
    settings: Settings,
    transport: Transport,
    floor_file: Option<FloorFile>,
    until: Until,
    limits: Limits,
    timeouts: Timeouts,
}

impl fmt::Debug for SyncClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncClientBuilder")
            .field("limits", &self.limits)
            .field("timeouts", &self.timeouts)
            .field("carrier", &self.carrier)
            .field("proxy", &self.proxy)
            .finish_non_exhaustive()
    }
}

fn device_id(text: &str) -> Result<Uuid, BuildError> {
    Uuid::try_parse(text.trim())
        .ok()
        .filter(is_device_id)
        .ok_or(BuildError::DeviceId)
}

fn user_agent(text: &str) -> Result<HeaderValue, BuildError> {
    let fits = (1..=256).contains(&text.len());
    let value = HeaderValue::from_str(text).ok().filter(|_| fits);
    value.ok_or_else(|| BuildError::Setting {
        name: "user_agent",
        reason: "it must be 1 to 256 visible characters".into(),
    })
}
