//! The whole service in one process.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::faults::Faults;
use crate::net::Server;
use crate::parts::{
    EdgeOptions, EdgeServer, OriginOptions, OriginServer, ProviderOptions, ProviderServer,
    run_edge, run_origin, run_provider, start_control,
};
use crate::requests::Requests;
use crate::secrets::Secrets;
use crate::settings::{SettingError, Settings};
use crate::store::DatabaseError;
use crate::tls::{TlsError, TlsOptions};

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting has a value that it does not take.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The port cannot be listened on: another program has it.
    #[error("cannot listen on {addr}")]
    Listen {
        /// Which address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Without TLS an edge listens on the loopback only, for tokens and tickets go through it.
    #[error("an edge on {0} needs TLS")]
    Plain(SocketAddr),
    /// The edge cannot speak TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address of the origin or of the AI provider is not of the form `http://host:port`.
    #[error("a part's URL must be http://host:port, not {0:?}")]
    Url(String),
    /// The data folder cannot be made.
    #[error("cannot use the data folder {path}")]
    Data {
        /// Which folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The database in it cannot be opened.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The URL of Postgres or Redis is none. The text does not repeat it: it may hold a password.
    #[error("the URL of {service} cannot be used: {why}")]
    ServiceUrl {
        /// `Postgres` or `Redis`.
        service: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Origins that share one Redis share their tickets, so all of them have to sign with one secret.
    #[error("with Redis the setting ticket_secret is needed, the same for every origin")]
    TicketSecret,
}

/// Edge, origin, AI provider and control API in one process.
///
/// [`stop`](Self::stop) ends the streams in good order and waits until nothing is left. Dropping it
/// breaks every connection at once, as killing the process would.
#[derive(Debug)]
pub struct Stack {
    edge: EdgeServer,
    origin: OriginServer,
    provider: ProviderServer,
    control: Server,
    urls: [String; 4],
}

/// How to start a [`Stack`].
#[derive(Clone, Debug, Default)]
pub struct Builder {
    settings: Settings,
    edge_port: u16,
    origin_port: u16,
    control_port: u16,
    provider_url: Option<String>,
    data: Option<PathBuf>,
    tls: Option<TlsOptions>,
}

impl Builder {
    /// Takes all settings at once.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Changes one setting.
    ///
    /// # Errors
    ///
    /// As [`Settings::set`].
    pub fn set(mut self, name: &str, value: &str) -> Result<Self, SettingError> {
        self.settings.set(name, value)?;
        Ok(self)
    }

    /// Listens on these ports; 0 lets the system choose, which is the default.
    #[must_use]
    pub const fn ports(mut self, edge: u16, origin: u16, control: u16) -> Self {
        self.edge_port = edge;
        self.origin_port = origin;
        self.control_port = control;
        self
    }

    /// Uses the AI provider's stand-in of another process instead of this one's own, which is idle then.
    #[must_use]
    pub fn provider_url(mut self, url: impl Into<String>) -> Self {
        self.provider_url = Some(url.into());
        self
    }

    /// Keeps records and AI sessions in this folder instead of in memory.
    #[must_use]
    pub fn data(mut self, folder: impl Into<PathBuf>) -> Self {
        self.data = Some(folder.into());
        self
    }

    /// Has the edge speak TLS, with an authority of its own that is kept in this folder; [`Stack::ca`] is
    /// what clients are to trust.
    #[must_use]
    pub fn tls(mut self, folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        self.tls = Some(TlsOptions {
            folder,
            ..TlsOptions::default()
        });
        self
    }

    /// Starts it; it serves requests when this returns.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub async fn start(mut self) -> Result<Stack, StartError> {
        self.settings.cookie_secure |= self.tls.is_some();
        let faults = Faults::default();
        let requests = Requests::new(self.settings.request_log_max);
        let origin = run_origin(OriginOptions {
            port: self.origin_port,
            data: self.data.clone(),
            settings: self.settings.clone(),
            faults: faults.clone(),
            requests: requests.clone(),
            ..OriginOptions::default()
        })
        .await?;
        let provider = run_provider(ProviderOptions {
            port: 0,
            faults: faults.clone(),
            requests: requests.clone(),
        })
        .await?;
        let edge = run_edge(EdgeOptions {
            port: self.edge_port,
            listen: None,
            tls: self.tls,
            origin_urls: vec![origin.url()],
            provider_url: Some(self.provider_url.unwrap_or_else(|| provider.url())),
            data: self.data,
            settings: self.settings,
            faults: faults.clone(),
            requests: requests.clone(),
        })
        .await?;
        let control = start_control(self.control_port, &faults, &requests, Some(&edge))?;
        let urls = [edge.url(), origin.url(), control.url(), provider.url()];
        Ok(Stack {
            edge,
            origin,
            provider,
            control,
            urls,
        })
    }
}

impl Stack {
    /// Begins with the contract's settings, free ports and a database in memory.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where clients go.
    #[must_use]
    pub fn edge_url(&self) -> &str {
        &self.urls[0]
    }

    /// The root certificate to trust, where the edge speaks TLS.
    #[must_use]
    pub fn ca(&self) -> Option<&Path> {
        self.edge.ca()
    }

    /// Where `/ready` is, and the same API without the edge.
    #[must_use]
    pub fn origin_url(&self) -> &str {
        &self.urls[1]
    }

    /// Where the AI provider's stand-in listens.
    #[must_use]
    pub fn provider_url(&self) -> &str {
        &self.urls[3]
    }

    /// Where faults can be switched from another process.
    #[must_use]
    pub fn control_url(&self) -> &str {
        &self.urls[2]
    }

    /// Switches faults.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.edge.faults()
    }

    /// What has arrived.
    #[must_use]
    pub fn requests(&self) -> Requests {
        self.edge.requests()
    }

    /// Changes the secrets that AI sessions are encrypted under.
    #[must_use]
    pub fn secrets(&self) -> Secrets {
        self.edge.secrets()
    }

    /// As [`EdgeServer::restart`].
    pub fn restart_edge(&self) {
        self.edge.restart();
    }

    /// The origin, for what only it can do.
    #[must_use]
    pub const fn origin(&self) -> &OriginServer {
        &self.origin
    }

    /// Stops everything and returns when nothing is left: no task, no thread, no socket, no open file.
    pub async fn stop(self) {
        self.control.stop().await;
        self.edge.stop().await;
        self.provider.stop().await;
        self.origin.stop().await;
    }
}
