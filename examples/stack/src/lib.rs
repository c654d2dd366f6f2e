//! The reference service: an edge in front of an origin and an AI provider, on real sockets, with faults
//! on demand.
//!
//! It is what the SDK's scenarios and demonstrations run against, so it keeps to the contract to the
//! letter, and breaks in the ways that real ones break: listeners really close, connections are really
//! reset, timeouts really pass.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use evenkeel_stack::Stack;
//!
//! let stack = Stack::builder().set("circuit_open_ms", "500")?.start().await?;
//! let pull = format!("{}/api/v2/sync/pull?cursor=0", stack.edge_url());
//!
//! stack.faults().update(|f| f.origin_refuses = true);
//! // … a client meets `network_error`, then `circuit_open` …
//! stack.faults().reset();
//! stack.stop().await;
//! # drop(pull);
//! # Ok(())
//! # }
//! ```

mod answer;
mod caller;
mod clock;
mod control;
mod edge;
mod faults;
mod hex;
mod limit;
mod net;
mod origin;
mod parts;
mod provider;
mod requests;
mod secrets;
mod serve;
mod settings;
mod stack;
pub mod store;
mod tls;

pub use faults::{
    CdnBody, CdnError, Cut, DatabaseFault, FaultError, FaultInfo, FaultSet, Faults, Flap, Garbage,
    LateCommits, OriginErrors, RateLimited, Selection, SignIn, SnapshotGap, Unconfigured,
};
pub use parts::{
    EdgeOptions, EdgeServer, OriginOptions, OriginServer, ProviderOptions, ProviderServer,
    run_edge, run_origin, run_provider,
};
pub use requests::{Lane, Part, RequestRecord, Requests};
pub use secrets::{SecretName, SecretState, Secrets};
pub use serve::{Role, ServeError, ServeOptions, serve};
pub use settings::{
    CursorForm, Hidden, RateLimitForm, ReadyWhen, SettingError, SettingInfo, Settings,
    TicketCarrier,
};
pub use stack::{Builder, Stack, StartError};
pub use tls::{TlsError, TlsOptions};
