//! Origin, edge and AI provider, each started and stopped alone.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evenkeel_proto::wire::Cursor;
use http::Uri;
use http::uri::{Authority, Scheme};
use tokio::task::JoinHandle;

use crate::control;
use crate::edge::{Deployment, Sessions, Standing};
use crate::faults::Faults;
use crate::net::{Place, Server};
use crate::origin::{self, Origin};
use crate::provider;
use crate::requests::Requests;
use crate::secrets::Secrets;
use crate::settings::Settings;
use crate::stack::StartError;
use crate::store::{
    BoxFuture, Bus, Database, DatabaseError, LocalBus, PostgresDatabase, RedisBus, SqliteDatabase,
};
use crate::tls::{Tls, TlsOptions};

/// How to start an origin alone.
#[derive(Clone, Debug, Default)]
pub struct OriginOptions {
    /// 0 lets the system choose.
    pub port: u16,
    /// The folder for the records; `None` keeps them in memory.
    pub data: Option<PathBuf>,
    /// Where Postgres is, `postgres://…`: the records are kept there, and not in `data`.
    pub database: Option<String>,
    /// Where Redis is, `redis://…`; without it tickets and announcements are this process's own.
    pub redis: Option<String>,
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
    let settings = Arc::new(options.settings);
    let (database, closed) = database(options.database.as_deref(), options.data, &settings)?;
    let bus = bus(options.redis.as_deref(), &settings)?;
    let origin = Arc::new(Origin::new(
        settings,
        options.faults.clone(),
        options.requests.clone(),
        database,
        bus,
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

fn database(
    url: Option<&str>,
    folder: Option<PathBuf>,
    settings: &Settings,
) -> Result<(Arc<dyn Database>, Closed), StartError> {
    let devices_max = settings.devices_max;
    let Some(url) = url else {
        let file = file_in(folder, DATABASE_FILE)?;
        let database = SqliteDatabase::open(file.as_deref(), devices_max)?;
        let closed = Closed(Mutex::new(Box::pin(database.closed())));
        return Ok((Arc::new(database), closed));
    };
    let connections_max = settings.database_connections_max;
    let database = PostgresDatabase::new(url, connections_max, devices_max);
    let service = "Postgres";
    let database = database.map_err(|why| StartError::ServiceUrl { service, why })?;
    // Nothing of it is in this process.
    let closed = Closed(Mutex::new(Box::pin(std::future::ready(()))));
    Ok((Arc::new(database), closed))
}

fn bus(url: Option<&str>, settings: &Settings) -> Result<Arc<dyn Bus>, StartError> {
    let announcements_max = usize::try_from(settings.stream_announcements_max).unwrap_or(1);
    let Some(url) = url else {
        return Ok(Arc::new(LocalBus::new(announcements_max)));
    };
    if settings.ticket_secret.expose().is_empty() {
        return Err(StartError::TicketSecret);
    }
    let service = "Redis";
    let bus = RedisBus::start(url, announcements_max);
    let bus = bus.map_err(|why| StartError::ServiceUrl { service, why })?;
    Ok(Arc::new(bus))
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
        self.closed.wait().await;
    }
}

/// How to start an edge alone.
#[derive(Clone, Debug, Default)]
pub struct EdgeOptions {
    /// 0 lets the system choose.
    pub port: u16,
    /// The address to listen on; `None` is the loopback, and anything else needs TLS.
    pub listen: Option<IpAddr>,
    /// Speak TLS, and only TLS.
    pub tls: Option<TlsOptions>,
    /// Where the origins are, which are taken in turn; empty is an edge that was deployed without one.
    pub origin_urls: Vec<String>,
    /// Where the AI provider is; `None` is an edge that cannot reach one.
    pub provider_url: Option<String>,
    /// The folder for the AI sessions; `None` keeps them in memory.
    pub data: Option<PathBuf>,
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
    ca: Option<PathBuf>,
    deployment: Arc<Deployment>,
    closed: Closed,
}

/// Starts an edge alone.
///
/// # Errors
///
/// See [`StartError`].
pub async fn run_edge(mut options: EdgeOptions) -> Result<EdgeServer, StartError> {
    options.settings.check()?;
    let addr = SocketAddr::new(options.listen.unwrap_or(LOOPBACK), options.port);
    if options.tls.is_none() && !addr.ip().is_loopback() {
        return Err(StartError::Plain(addr));
    }
    let http2 = options.settings.http2;
    let tls = options.tls.as_ref().map(|tls| Tls::open(tls, http2));
    let tls = tls.transpose()?;
    options.settings.cookie_secure |= tls.is_some();
    let origins = options.origin_urls.iter().map(|url| authority(url));
    let sessions = Sessions::open(file_in(options.data, SESSIONS_FILE)?.as_deref())?;
    let closed = Closed(Mutex::new(Box::pin(sessions.closed())));
    let deployment = Deployment::new(Standing {
        origins: origins.collect::<Result<_, _>>()?,
        provider: options.provider_url.as_deref().map(authority).transpose()?,
        secrets: Secrets::of(&options.settings),
        sessions,
        settings: Arc::new(options.settings),
        faults: options.faults,
        requests: options.requests,
    });
    let (ca, acceptor) = tls.map(|tls| (tls.ca, tls.acceptor)).unzip();
    let place = Place {
        addr,
        tls: acceptor,
    };
    let faults = &deployment.standing().faults;
    let server = Server::start_at(place, deployment.router(), faults, |f| f.edge_refuses)
        .map_err(|source| StartError::Listen { addr, source })?;
    Ok(EdgeServer {
        server,
        ca,
        deployment,
        closed,
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
        self.deployment.standing().faults.clone()
    }

    /// What has arrived.
    #[must_use]
    pub fn requests(&self) -> Requests {
        self.deployment.standing().requests.clone()
    }

    /// The root certificate to trust, of an edge that speaks TLS.
    #[must_use]
    pub fn ca(&self) -> Option<&Path> {
        self.ca.as_deref()
    }

    /// Changes the secrets that AI sessions are encrypted under.
    #[must_use]
    pub fn secrets(&self) -> Secrets {
        self.deployment.standing().secrets.clone()
    }

    /// Restarts it in its place, as a deploy does: its counters, circuits and rate limits begin anew and
    /// its streams end. AI sessions stay; the port never closes.
    pub fn restart(&self) {
        self.deployment.restart();
    }

    pub(crate) fn deployment(&self) -> Arc<Deployment> {
        Arc::clone(&self.deployment)
    }

    /// Stops it and returns when nothing is left.
    pub async fn stop(self) {
        self.server.stop().await;
        drop(self.deployment);
        self.closed.wait().await;
    }
}

/// How to start the stand-in for an AI provider alone.
#[derive(Clone, Debug, Default)]
pub struct ProviderOptions {
    /// 0 lets the system choose.
    pub port: u16,
    /// The switchboard that it listens to.
    pub faults: Faults,
    /// Where it notes what arrives.
    pub requests: Requests,
}

/// An AI provider's stand-in that runs: completions in OpenAI's form, `POST /v1/chat/completions`, the same
/// answer to the same question.
#[derive(Debug)]
pub struct ProviderServer(Server);

/// Starts the stand-in for an AI provider alone.
///
/// # Errors
///
/// See [`StartError`].
pub async fn run_provider(options: ProviderOptions) -> Result<ProviderServer, StartError> {
    let router = provider::router(options.faults.clone(), options.requests);
    let server = listen(options.port, |port| {
        Server::start(port, router, &options.faults, |f| f.provider_refuses)
    })?;
    Ok(ProviderServer(server))
}

impl ProviderServer {
    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        self.0.url()
    }

    /// Stops it and returns when nothing is left.
    pub async fn stop(self) {
        self.0.stop().await;
    }
}

pub(crate) fn start_control(
    port: u16,
    faults: &Faults,
    requests: &Requests,
    edge: Option<&EdgeServer>,
) -> Result<Server, StartError> {
    let edge = edge.map(EdgeServer::deployment);
    let router = control::router(faults.clone(), requests.clone(), edge);
    listen(port, |port| Server::start(port, router, faults, |_| false))
}

fn listen(port: u16, start: impl FnOnce(u16) -> io::Result<Server>) -> Result<Server, StartError> {
    start(port).map_err(|source| StartError::Listen {
        addr: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        source,
    })
}

fn file_in(folder: Option<PathBuf>, name: &str) -> Result<Option<PathBuf>, StartError> {
    let Some(path) = folder else {
        return Ok(None);
    };
    match std::fs::create_dir_all(&path) {
        Ok(()) => Ok(Some(path.join(name))),
        Err(source) => Err(StartError::Data { path, source }),
    }
}

fn authority(url: &str) -> Result<Authority, StartError> {
    let wrong = || StartError::Url(url.to_owned());
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

/// Ready when the database is closed; behind a lock, so that the server can be shared between threads.
struct Closed(Mutex<BoxFuture<'static, ()>>);

impl Closed {
    async fn wait(self) {
        let closed = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let _ = tokio::time::timeout(CLOSE_MAX, closed).await;
    }
}

impl std::fmt::Debug for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Closed")
    }
}

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const DATABASE_FILE: &str = "stack.db";
const SESSIONS_FILE: &str = "edge.db";
const CLOSE_MAX: Duration = Duration::from_secs(2);
