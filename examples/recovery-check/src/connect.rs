//! A client of the service that the command line names.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use evenkeel::store::{OpenError, StoreOptions};
use evenkeel::{
    AiClient, BuildError, Secret, SqliteStore, SyncClient, SyncClientBuilder, TokenError,
    TokenReason,
};
use uuid::Uuid;

use crate::cli::Service;
use crate::exit::Failed;
use crate::probe::{Probe, Target, Tls};
use crate::stack::chain;

/// A client with a copy of its own in memory.
pub(crate) fn connect(service: &Service) -> Result<SyncClient, Failed> {
    prepare(service)?.build().map_err(unusable)
}

/// A client over the store of an app, beside that app's own.
pub(crate) async fn connect_to(
    service: &Service,
    path: &Path,
    account: &str,
) -> Result<SyncClient, Failed> {
    let builder = prepare(service)?;
    let wrong = |why: String| Failed::configuration(format!("--store: {why}"));
    // Opening would make one, and a mistyped path be watched for ever.
    if !path.exists() {
        return Err(wrong(format!("there is no {}", path.display())));
    }
    let store = SqliteStore::open(path, account, StoreOptions::default()).await;
    let store = store.map_err(|error| match error {
        OpenError::WrongAccount => wrong(format!("{error}; give its name with --account")),
        error => wrong(chain(&error)),
    })?;
    builder.replica(store).build().map_err(unusable)
}

fn prepare(service: &Service) -> Result<SyncClientBuilder, Failed> {
    let Some(edge) = &service.edge else {
        return Err(which_service());
    };
    let source = Arc::new(TokenSource::of(service)?);
    let mut builder = SyncClient::builder(edge)
        .user_agent(crate::USER_AGENT)
        .token_provider(move |reason| {
            let source = Arc::clone(&source);
            async move {
                // A file can be on a network drive, or be a pipe that nobody writes to.
                let reading = tokio::task::spawn_blocking(move || source.read(reason));
                reading.await.unwrap_or(Err(TokenError::Unavailable))
            }
        });
    if let Some(roots) = roots(service)? {
        builder = builder.extra_root_certificates(roots);
    }
    if let Some(id) = &service.device_id {
        builder = builder.device_id(id);
    }
    if let Some(dir) = &service.state_dir {
        builder = builder.state_dir(dir);
    }
    Ok(builder)
}

/// A probe of the service that the command line names, with whatever it names; a token that is given has
/// to be readable.
pub(crate) fn probe(service: &Service) -> Result<Probe, Failed> {
    let edge = service.edge.as_deref().map(Target::edge).transpose()?;
    let origin = service.origin.as_deref().map(Target::origin).transpose()?;
    let given = service.token_file.is_some() || std::env::var_os("EVENKEEL_TOKEN").is_some();
    let token = match given {
        true => Some(TokenSource::of(service)?.first()),
        false => None,
    };
    let device = match &service.device_id {
        Some(id) => Uuid::parse_str(id).map_err(|_| unusable(BuildError::DeviceId))?,
        None => Uuid::new_v4(),
    };
    Ok(Probe {
        tls: Tls::trusting(roots(service)?.as_deref())?,
        edge,
        origin,
        token,
        device: device.to_string(),
    })
}

/// A probe that goes through the edge as a user.
pub(crate) fn probe_as_user(service: &Service) -> Result<Probe, Failed> {
    let probe = probe(service)?;
    if probe.edge.is_none() {
        return Err(which_service());
    }
    if probe.token.is_none() {
        return Err(as_whom());
    }
    Ok(probe)
}

/// A probe of the edge, and the edge's address.
pub(crate) fn probe_of_edge(service: &Service) -> Result<(Probe, String), Failed> {
    let probe = probe(service)?;
    let edge = probe.edge.as_ref().ok_or_else(which_service)?.to_string();
    Ok((probe, edge))
}

/// The service's AI, as the account.
pub(crate) fn ai_of_account(service: &Service) -> Result<AiClient, Failed> {
    prepare(service)?.build_ai().map_err(unusable)
}

/// The service's AI, as a device and nobody's account.
pub(crate) fn ai_of_device(service: &Service) -> Result<AiClient, Failed> {
    let edge = service.edge.as_deref().ok_or_else(which_service)?;
    let mut builder = SyncClient::builder(edge).user_agent(crate::USER_AGENT);
    if let Some(roots) = roots(service)? {
        builder = builder.extra_root_certificates(roots);
    }
    builder.build_ai().map_err(unusable)
}

/// The root certificates that the command line adds to the system's.
fn roots(service: &Service) -> Result<Option<Vec<u8>>, Failed> {
    let Some(path) = &service.ca_file else {
        return Ok(None);
    };
    let mut roots = Vec::new();
    let file = File::open(path).map(|file| file.take(ROOTS_BYTES_MAX));
    match file.and_then(|mut file| file.read_to_end(&mut roots)) {
        Ok(_) => Ok(Some(roots)),
        Err(error) => Err(Failed::configuration(format!(
            "--ca-file: cannot read {}: {error}",
            path.display()
        ))),
    }
}

/// What is wrong, where it was said, and what to do about it.
fn unusable(error: BuildError) -> Failed {
    let why = chain(&error);
    Failed::configuration(match error {
        BuildError::Url { .. } => {
            format!("--edge (or EVENKEEL_EDGE): {why}; for example https://sync.example.com")
        }
        BuildError::DeviceId => {
            format!("--device-id: {why}; without it the one of --state-dir is taken, or a new one")
        }
        BuildError::Certificate { .. } => {
            format!("--ca-file (or EVENKEEL_CA_FILE): {why}; it must hold certificates in PEM")
        }
        BuildError::StateCorrupt { .. } => {
            format!("--state-dir: {why}; look at it, and delete it if it can go")
        }
        BuildError::StateUnusable { .. } => {
            format!("--state-dir: {why}; make room or rights, or give another directory")
        }
        _ => why,
    })
}

fn which_service() -> Failed {
    Failed::configuration(
        "which service? Give --edge URL or set EVENKEEL_EDGE; `recovery-check demo` needs none",
    )
}

fn as_whom() -> Failed {
    Failed::configuration("as whom? Set EVENKEEL_TOKEN or give --token-file FILE")
}

enum TokenSource {
    Environment(Secret),
    /// With the token that was read first: a pipe can be read only once.
    File(PathBuf, Mutex<Option<Secret>>),
}

impl TokenSource {
    fn of(service: &Service) -> Result<Self, Failed> {
        if let Some(path) = &service.token_file {
            return match token_in(path) {
                Ok(token) => Ok(Self::File(path.clone(), Mutex::new(Some(token)))),
                Err(why) => Err(Failed::configuration(format!(
                    "cannot read a token from {}: {why}; it must hold the token and nothing else",
                    path.display()
                ))),
            };
        }
        let given = std::env::var_os("EVENKEEL_TOKEN").unwrap_or_default();
        if given.is_empty() {
            return Err(as_whom());
        }
        match given.to_str().ok_or("it is not text").and_then(token) {
            Ok(token) => Ok(Self::Environment(token)),
            Err(why) => Err(Failed::configuration(format!(
                "EVENKEEL_TOKEN holds no token: {why}"
            ))),
        }
    }

    /// The token that was read when the command line was.
    fn first(self) -> Secret {
        match self {
            Self::Environment(token) => token,
            Self::File(_, first) => {
                let first = first.into_inner().unwrap_or_else(PoisonError::into_inner);
                first.unwrap_or_else(|| Secret::new(""))
            }
        }
    }

    /// A file may hold another token by the time the first is refused; a variable cannot.
    fn read(&self, reason: TokenReason) -> Result<Secret, TokenError> {
        match self {
            Self::Environment(token) if reason == TokenReason::Needed => Ok(token.clone()),
            Self::Environment(_) => Err(TokenError::SignedOut),
            Self::File(path, first) => {
                let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
                match first {
                    Some(token) if reason == TokenReason::Needed => Ok(token),
                    _ => token_in(path).map_err(|why| {
                        tracing::warn!(why, "the token file cannot be read");
                        TokenError::Unavailable
                    }),
                }
            }
        }
    }
}

fn token_in(path: &Path) -> Result<Secret, String> {
    word_from(File::open(path).map_err(|e| e.to_string())?)
}

/// A secret that is all there is to be read.
pub(crate) fn word_from(source: impl std::io::Read) -> Result<Secret, String> {
    let mut bytes = Vec::new();
    let reading = source.take(TOKEN_BYTES_MAX + 1).read_to_end(&mut bytes);
    reading.map_err(|e| e.to_string())?;
    if bytes.len() as u64 > TOKEN_BYTES_MAX {
        return Err("it is too large".to_owned());
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| "it is not text in UTF-8")?;
    // Some editors begin every text with a mark.
    Ok(token(text.trim_start_matches('\u{feff}'))?)
}

fn token(text: &str) -> Result<Secret, &'static str> {
    let token = text.trim();
    if token.is_empty() {
        Err("it is empty")
    } else if token.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(Secret::new(token))
    } else {
        Err("there is more in it than one word of ASCII")
    }
}

const ROOTS_BYTES_MAX: u64 = 4 << 20;
const TOKEN_BYTES_MAX: u64 = 64 << 10;
