//! Starting and stopping the parts, together or each alone.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_proto::wire::Cursor;
use http::Uri;
use http::uri::{Authority, Scheme};
use tokio::task::JoinHandle;

use crate::control;
use crate::edge::Edge;
use crate::faults::Faults;
use crate::net::Server;
use crate::origin::{self, Origin};
use crate::requests::Requests;
use crate::settings::{SettingError, Settings};
use crate::store::{BoxFuture, DatabaseError, LocalBus, SqliteDatabase};

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
    /// The origin's address is not of the form `http://host:port`.
    #[error("the origin's URL must be http://host:port, not {0:?}")]
    OriginUrl(String),
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
}

/// Edge, origin and control API in one process.
///
/// Dropping it stops everything; [`stop`](Self::stop) also waits until nothing is left.
#[derive(Debug)]
pub struct Stack {
    edge: EdgeServer,
    origin: OriginServer,
    control: Server,
    urls: [String; 3],
}

/// How to start a [`Stack`].
#[derive(Clone, Debug, Default)]
pub struct Builder {
    settings: Settings,
    edge_port: u16,
    origin_port: u16,
    control_port: u16,
    data: Option<PathBuf>,
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

    /// Keeps the records in this folder instead of in memory.
    #[must_use]
    pub fn data(mut self, folder: impl Into<PathBuf>) -> Self {
        self.data = Some(folder.into());
        self
    }

    /// Starts it; it serves requests when this returns.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub async fn start(self) -> Result<Stack, StartError> {
        let faults = Faults::default();
        let requests = Requests::new(self.settings.request_log_max);
        let origin = run_origin(OriginOptions {
            port: self.origin_port,
            data: self.data,
            settings: self.settings.clone(),
            faults: faults.clone(),
            requests: requests.clone(),
        })
        .await?;
        let edge = run_edge(EdgeOptions {
            port: self.edge_port,
            origin_url: Some(origin.url()),
            settings: self.settings,
            faults: faults.clone(),
            requests: requests.clone(),
        })
        .await?;
        let control = start_control(self.control_port, &faults, &requests)?;
        let urls = [edge.url(), origin.url(), control.url()];
        Ok(Stack {
            edge,
            origin,
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

    /// Where `/ready` is, and the same API without the edge.
    #[must_use]
    pub fn origin_url(&self) -> &str {
        &self.urls[1]
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

    /// The origin, for what only it can do.
    #[must_use]
    pub const fn origin(&self) -> &OriginServer {
        &self.origin
    }

    /// Stops everything and returns when nothing is left: no task, no thread, no socket, no open file.
    pub async fn stop(self) {
        self.control.stop().await;
        self.edge.stop().await;
        self.origin.stop().await;
    }
}

/// How to start an origin alone.
#[derive(Clone, Debug, Default)]
pub struct OriginOptions {
    /// 0 lets the system choose.
    pub port: u16,
    /// The folder for the records; `None` keeps them in memory.
    pub data: Option<PathBuf>,
    /// The settings.
    pub settings: Settings,
    /// The switchboard that it listens to.
    pub faults: Faults,
    /// Where it notes what arrives.
    pub requests: Requests,
}

/// An origin that runs.
#[derive(Debug)]
pub struct OriginServer {
    server: Server,
    upkeep: Upkeep,
    origin: Arc<Origin>,
    closed: Closed,
    faults: Faults,
    requests: Requests,
}

/// Starts an origin alone.
///
/// # Errors
///
/// See [`StartError`].
pub async fn run_origin(options: OriginOptions) -> Result<OriginServer, StartError> {
    options.settings.check()?;
    let file = options
        .data
        .map(|folder| match std::fs::create_dir_all(&folder) {
            Ok(()) => Ok(folder.join(DATABASE_FILE)),
            Err(source) => Err(StartError::Data {
                path: folder,
                source,
            }),
        });
    let file = file.transpose()?;
    let settings = Arc::new(options.settings);
    let database = SqliteDatabase::open(file.as_deref(), settings.devices_max)?;
    let closed = Closed(Box::pin(database.closed()));
    let announcements_max = usize::try_from(settings.stream_announcements_max);
    let origin = Arc::new(Origin::new(
        settings,
        options.faults.clone(),
        options.requests.clone(),
        Arc::new(database),
        Arc::new(LocalBus::new(announcements_max.unwrap_or(1))),
    ));
    let router = Arc::clone(&origin).router();
    let server = listen(options.port, |port| {
        Server::start(port, router, &options.faults, |f| f.origin_refuses)
    })?;
    Ok(OriginServer {
        server,
        upkeep: Upkeep(tokio::spawn(origin::keep_up(Arc::clone(&origin)))),
        origin,
        closed,
        faults: options.faults,
        requests: options.requests,
    })
}

impl OriginServer {
    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Switches faults.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// What has arrived.
    #[must_use]
    pub fn requests(&self) -> Requests {
        self.requests.clone()
    }

    /// How many streams are open.
    #[must_use]
    pub fn streams_open(&self) -> u64 {
        self.origin.streams_open()
    }

    /// Writes a record as another device of the user would, and tells the streams; the user of the
    /// default token is `demo`.
    ///
    /// # Errors
    ///
    /// The database is away.
    pub async fn write_note(
        &self,
        user: &str,
        id: &str,
        content: &str,
    ) -> Result<Cursor, DatabaseError> {
        origin::write_note(&self.origin, user, id, content).await
    }

    /// Forgets the log up to a cursor; whoever pulls from before it must take a snapshot.
    pub async fn prune_through(&self, cursor: Cursor) {
        self.faults
            .update(|f| f.changes_pruned_through = Some(cursor.0));
        self.faults.until(|f| !f.pending()).await;
    }

    /// Puts the database back to where it was at a cursor, as a restored backup does.
    pub async fn restore_to(&self, cursor: Cursor) {
        self.faults
            .update(|f| f.database_restored_to = Some(cursor.0));
        self.faults.until(|f| !f.pending()).await;
    }

    /// Stops it and returns when nothing is left.
    pub async fn stop(self) {
        self.server.stop().await;
        self.upkeep.stop().await;
        drop(self.origin);
        // A push that commits late may still hold the database; it ends by itself.
        let _ = tokio::time::timeout(CLOSE_MAX, self.closed.0).await;
    }
}

/// How to start an edge alone.
#[derive(Clone, Debug, Default)]
pub struct EdgeOptions {
    /// 0 lets the system choose.
    pub port: u16,
    /// Where the origin is; `None` is an edge that was deployed without one.
    pub origin_url: Option<String>,
    /// The settings.
    pub settings: Settings,
    /// The switchboard that it listens to.
    pub faults: Faults,
    /// Where it notes what arrives.
    pub requests: Requests,
}

/// An edge that runs.
#[derive(Debug)]
pub struct EdgeServer {
    server: Server,
    faults: Faults,
    requests: Requests,
}

/// Starts an edge alone.
///
/// # Errors
///
/// See [`StartError`].
pub async fn run_edge(options: EdgeOptions) -> Result<EdgeServer, StartError> {
    options.settings.check()?;
    let origin = options.origin_url.as_deref().map(authority).transpose()?;
    let edge = Edge::new(
        Arc::new(options.settings),
        options.faults.clone(),
        options.requests.clone(),
        origin,
    );
    let router = edge.router();
    let server = listen(options.port, |port| {
        Server::start(port, router, &options.faults, |f| f.edge_refuses)
    })?;
    Ok(EdgeServer {
        server,
        faults: options.faults,
        requests: options.requests,
    })
}

impl EdgeServer {
    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Switches faults.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// What has arrived.
    #[must_use]
    pub fn requests(&self) -> Requests {
        self.requests.clone()
    }

    /// Stops it and returns when nothing is left.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

pub(crate) fn start_control(
    port: u16,
    faults: &Faults,
    requests: &Requests,
) -> Result<Server, StartError> {
    let router = control::router(faults.clone(), requests.clone());
    listen(port, |port| Server::start(port, router, faults, |_| false))
}

fn listen(port: u16, start: impl FnOnce(u16) -> io::Result<Server>) -> Result<Server, StartError> {
    start(port).map_err(|source| StartError::Listen {
        addr: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        source,
    })
}

fn authority(url: &str) -> Result<Authority, StartError> {
    let wrong = || StartError::OriginUrl(url.to_owned());
    let parts = url.parse::<Uri>().map_err(|_| wrong())?.into_parts();
    let plain = parts.scheme == Some(Scheme::HTTP);
    let bare = parts.path_and_query.is_none_or(|path| path == "/");
    parts.authority.filter(|_| plain && bare).ok_or_else(wrong)
}

#[derive(Debug)]
struct Upkeep(JoinHandle<()>);

impl Upkeep {
    async fn stop(mut self) {
        self.0.abort();
        // Cancelled is what it is meant to be.
        let _ = (&mut self.0).await;
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Closed(BoxFuture<'static, ()>);

impl std::fmt::Debug for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Closed")
    }
}

const DATABASE_FILE: &str = "stack.db";
const CLOSE_MAX: Duration = Duration::from_secs(2);
