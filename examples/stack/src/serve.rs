//! The service in the foreground, for a command line to call.

use std::future::Future;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;

use crate::faults::Faults;
use crate::parts::{
    EdgeOptions, OriginOptions, ProviderOptions, run_edge, run_origin, run_provider, start_control,
};
use crate::requests::Requests;
use crate::settings::Settings;
use crate::stack::StartError;
use crate::tls::TlsOptions;

/// What runs in this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Edge, origin and AI provider.
    #[default]
    All,
    /// The edge alone.
    Edge,
    /// The origin alone.
    Origin,
    /// The AI provider's stand-in alone.
    Provider,
}

/// What to run, and where.
#[derive(Clone, Debug, Default)]
pub struct ServeOptions {
    /// What runs in this process.
    pub role: Role,
    /// 0 lets the system choose.
    pub edge_port: u16,
    /// The address that the edge listens on; `None` is the loopback, and anything else needs TLS.
    pub edge_listen: Option<IpAddr>,
    /// For an edge: speak TLS.
    pub tls: Option<TlsOptions>,
    /// 0 lets the system choose.
    pub origin_port: u16,
    /// 0 lets the system choose.
    pub provider_port: u16,
    /// For an edge alone: where its origins are, which it takes in turn; without any, the edge is one
    /// without an origin.
    pub origin_urls: Vec<String>,
    /// For an edge: where the AI provider is. Without it, an edge alone cannot reach one, and an edge
    /// with everything in one process uses the one there.
    pub provider_url: Option<String>,
    /// 0 lets the system choose.
    pub control_port: u16,
    /// The folder for records and AI sessions; `None` keeps them in memory.
    pub data: Option<PathBuf>,
    /// For an origin: where Postgres is, in place of the folder.
    pub database: Option<String>,
    /// For an origin: where Redis is.
    pub redis: Option<String>,
    /// Every limit and window.
    pub settings: Settings,
}

/// Why serving did not begin, or could not be announced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// It did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The addresses could not be written.
    #[error("cannot write where it listens")]
    Output(#[from] io::Error),
}

/// Serves until `shutdown` is ready, then stops in good order.
///
/// Writes one line for each part, `edge URL`, `origin URL`, `provider URL` and `control URL`, where the edge
/// speaks TLS one with its root certificate, `ca PATH`, and then `ready`.
///
/// # Errors
///
/// See [`ServeError`].
pub async fn serve(
    mut options: ServeOptions,
    mut out: impl Write,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    options.settings.cookie_secure |= options.tls.is_some();
    let faults = Faults::default();
    let requests = Requests::new(options.settings.request_log_max);
    let mut origin = None;
    if matches!(options.role, Role::All | Role::Origin) {
        let started = run_origin(OriginOptions {
            port: options.origin_port,
            data: options.data.clone(),
            database: options.database,
            redis: options.redis,
            settings: options.settings.clone(),
            faults: faults.clone(),
            requests: requests.clone(),
        });
        origin = Some(started.await?);
    }
    let mut provider = None;
    if matches!(options.role, Role::All | Role::Provider) {
        let started = run_provider(ProviderOptions {
            port: options.provider_port,
            faults: faults.clone(),
            requests: requests.clone(),
        });
        provider = Some(started.await?);
    }
    let mut edge = None;
    if matches!(options.role, Role::All | Role::Edge) {
        let own = provider.as_ref().map(|provider| provider.url());
        let started = run_edge(EdgeOptions {
            port: options.edge_port,
            listen: options.edge_listen,
            tls: options.tls,
            origin_urls: origin
                .as_ref()
                .map_or(options.origin_urls, |o| vec![o.url()]),
            provider_url: options.provider_url.or(own),
            data: options.data,
            settings: options.settings,
            faults: faults.clone(),
            requests: requests.clone(),
        });
        edge = Some(started.await?);
    }
    let control = start_control(options.control_port, &faults, &requests, edge.as_ref())?;
    if let Some(edge) = &edge {
        writeln!(out, "edge {}", edge.url())?;
        if let Some(ca) = edge.ca() {
            writeln!(out, "ca {}", ca.display())?;
        }
    }
    if let Some(origin) = &origin {
        writeln!(out, "origin {}", origin.url())?;
    }
    if let Some(provider) = &provider {
        writeln!(out, "provider {}", provider.url())?;
    }
    writeln!(out, "control {}", control.url())?;
    writeln!(out, "ready")?;
    out.flush()?;
    shutdown.await;
    control.stop().await;
    if let Some(edge) = edge {
        edge.stop().await;
    }
    if let Some(provider) = provider {
        provider.stop().await;
    }
    if let Some(origin) = origin {
        origin.stop().await;
    }
    Ok(())
}
