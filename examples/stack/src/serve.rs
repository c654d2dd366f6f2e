//! The service in the foreground, for a command line to call.

use std::future::Future;
use std::io::{self, Write};
use std::path::PathBuf;

use crate::faults::Faults;
use crate::parts::{EdgeOptions, OriginOptions, run_edge, run_origin, start_control};
use crate::requests::Requests;
use crate::settings::Settings;
use crate::stack::StartError;

/// What runs in this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Edge and origin.
    #[default]
    All,
    /// The edge alone.
    Edge,
    /// The origin alone.
    Origin,
}

/// What to run, and where.
#[derive(Clone, Debug, Default)]
pub struct ServeOptions {
    /// What runs in this process.
    pub role: Role,
    /// 0 lets the system choose.
    pub edge_port: u16,
    /// 0 lets the system choose.
    pub origin_port: u16,
    /// For an edge alone: where its origin is; without it, the edge is one without an origin.
    pub origin_url: Option<String>,
    /// 0 lets the system choose.
    pub control_port: u16,
    /// The folder for the records; `None` keeps them in memory.
    pub data: Option<PathBuf>,
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
/// Writes one line for each part, `edge URL`, `origin URL` and `control URL`, and then `ready`.
///
/// # Errors
///
/// See [`ServeError`].
pub async fn serve(
    options: ServeOptions,
    mut out: impl Write,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let faults = Faults::default();
    let requests = Requests::new(options.settings.request_log_max);
    let mut origin = None;
    if options.role != Role::Edge {
        let started = run_origin(OriginOptions {
            port: options.origin_port,
            data: options.data,
            settings: options.settings.clone(),
            faults: faults.clone(),
            requests: requests.clone(),
        });
        origin = Some(started.await?);
    }
    let mut edge = None;
    if options.role != Role::Origin {
        let started = run_edge(EdgeOptions {
            port: options.edge_port,
            origin_url: origin.as_ref().map(|o| o.url()).or(options.origin_url),
            settings: options.settings,
            faults: faults.clone(),
            requests: requests.clone(),
        });
        edge = Some(started.await?);
    }
    let control = start_control(options.control_port, &faults, &requests)?;
    if let Some(edge) = &edge {
        writeln!(out, "edge {}", edge.url())?;
    }
    if let Some(origin) = &origin {
        writeln!(out, "origin {}", origin.url())?;
    }
    writeln!(out, "control {}", control.url())?;
    writeln!(out, "ready")?;
    out.flush()?;
    shutdown.await;
    control.stop().await;
    if let Some(edge) = edge {
        edge.stop().await;
    }
    if let Some(origin) = origin {
        origin.stop().await;
    }
    Ok(())
}
