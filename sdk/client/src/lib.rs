//! A sync client that stays useful, and honest, while the service behind it is in trouble.
//!
//! ```no_run
//! use evenkeel::{Secret, SyncClient, SyncState, TokenError, TokenReason};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let client = SyncClient::builder("https://sync.example.com")
//!     .token_provider(|_why: TokenReason| async { Ok::<_, TokenError>(Secret::new("token")) })
//!     .state_dir("/var/lib/myapp/sync")
//!     .build()?;
//! client.start()?;
//! let mut statuses = client.status_changes();
//! while let Some(status) = statuses.next().await {
//!     match status.state {
//!         SyncState::Synced => println!("up to date"),
//!         SyncState::Syncing => println!("syncing"),
//!         _ => println!("{:?}, next try in {:?}", status.cause, status.next_attempt_in()),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! One task owns the protocol's engine (`evenkeel-proto`) and does what it says; nothing else decides
//! when to send. Data goes to a [`Replica`]; what the app sees is a [`Status`]. The client logs
//! through `tracing` under the target `evenkeel`, and never a token, ticket or content.

mod actor;
mod ai;
mod alarm;
mod builder;
mod changes;
mod client;
mod clock;
mod devices;
mod diagnostics;
mod error;
mod follow;
mod guard;
mod mailbox;
mod once;
mod progress;
mod replica;
mod settings;
mod shared;
mod state;
mod status;
pub mod store;
mod token;
mod transport;

pub use evenkeel_proto::engine::{Backlog, Pulled};
pub use evenkeel_proto::wire::{self, Cursor, Record, Secret};
pub use evenkeel_proto::{Ask, Cause, Failure, Layer, Lifecycle, Link, OutboxLevel, SyncState};

pub use ai::{AiClient, AiError, AiStatus, AiStatusChanges, AiTrouble};
pub use builder::SyncClientBuilder;
pub use changes::{Change, Changes, Lagged, Origin};
pub use client::SyncClient;
pub use diagnostics::{
    Diagnostics, Lane, LaneCounters, PastFailure, PastStatus, Settings, StreamCounters,
};
pub use error::{BuildError, RequestError, StartError, SuspendError, SyncOnceError};
pub use mailbox::Network;
pub use once::SyncReport;
pub use replica::{
    BatchLimits, ConflictingRecord, Hold, Lease, MemoryReplica, PageBody, RefusedWrite, Replica,
    ReplicaError, ReplicaFuture, ReplicaSignal, SnapshotBody, WriteError,
};
pub use settings::{Limits, ProxySetting, TicketCarrier, Timeouts};
pub use status::{Status, StatusChanges};
pub use store::SqliteStore;
pub use token::{TokenError, TokenProvider, TokenReason};
pub use transport::{Resolver, ResolverFuture};
