//! The store and the client of one run.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evenkeel::store::StoreOptions;
use evenkeel::{BuildError, Secret, SqliteStore, SyncClient, TokenError, TokenReason};

use crate::cli::Service;
use crate::exit::{Failed, chain};

/// Opens the notes of an account. Writes go there first; a client brings them to the server.
pub(crate) async fn open(service: &Service) -> Result<SqliteStore, Failed> {
    let opening = SqliteStore::open(&service.store, &service.account, StoreOptions::default());
    opening
        .await
        .map_err(|error| Failed::of_opening(&error, &service.store))
}

/// A client that keeps this store and the service in step. It does nothing before it is started.
pub(crate) fn connect(service: &Service, store: &SqliteStore) -> Result<SyncClient, Failed> {
    let tokens = TokenSource::of(service)?;
    let builder = SyncClient::builder(service.url.as_deref().unwrap_or(DEMO_URL))
        .user_agent(concat!("evenkeel-notes/", env!("CARGO_PKG_VERSION")))
        .replica(store.clone())
        .state_dir(device_dir(&service.store))
        .token_provider(move |why| {
            let tokens = tokens.clone();
            async move {
                // A file can be on a network drive.
                let reading = tokio::task::spawn_blocking(move || tokens.read(why));
                reading.await.unwrap_or(Err(TokenError::Unavailable))
            }
        });
    builder.build().map_err(unusable)
}

/// Ends both, so that the next process finds everything closed.
pub(crate) async fn close(store: &SqliteStore, client: Option<&SyncClient>) {
    if let Some(client) = client {
        // Whatever is under way is given up; what waits is in the store.
        let _ = tokio::time::timeout(CLOSE_WITHIN, client.stop()).await;
    }
    let _ = tokio::time::timeout(CLOSE_WITHIN, store.close()).await;
}

/// Beside the store: every process that opens it is the same device.
fn device_dir(store: &Path) -> PathBuf {
    let mut name = store.file_name().unwrap_or_default().to_owned();
    name.push(".device");
    store.with_file_name(name)
}

fn unusable(error: BuildError) -> Failed {
    let why = chain(&error);
    Failed::usage(match error {
        BuildError::Url { .. } => {
            format!("--url (or EVENKEEL_EDGE): {why}; for example https://sync.example.com")
        }
        BuildError::StateCorrupt { .. } => {
            format!("{why}; look at it, and delete it if it can go")
        }
        BuildError::StateUnusable { .. } => {
            format!("{why}; make room or rights, or give another --store")
        }
        _ => why,
    })
}

/// Where the token comes from; it is read when it is needed, and never kept.
#[derive(Clone)]
enum TokenSource {
    Fixed(Secret),
    File(PathBuf),
}

impl TokenSource {
    fn of(service: &Service) -> Result<Self, Failed> {
        if let Some(path) = &service.token_file {
            let checked = token_in(path).map_err(|why| {
                Failed::usage(format!(
                    "cannot read a token from {}: {why}; it must hold the token and nothing else",
                    path.display()
                ))
            });
            return checked.map(|_| Self::File(path.clone()));
        }
        match std::env::var_os("EVENKEEL_TOKEN").filter(|given| !given.is_empty()) {
            Some(given) => match given.to_str().ok_or("it is not text").and_then(token) {
                Ok(token) => Ok(Self::Fixed(token)),
                Err(why) => Err(Failed::usage(format!(
                    "EVENKEEL_TOKEN holds no token: {why}"
                ))),
            },
            // The reference service's own token, which is no secret, and only for that service.
            None if service.url.is_none() => Ok(Self::Fixed(Secret::new(DEMO_TOKEN))),
            None => Err(Failed::usage(
                "as whom? Set EVENKEEL_TOKEN or give --token-file FILE",
            )),
        }
    }

    /// A file may hold another token by the time the first is refused; a variable cannot.
    fn read(&self, why: TokenReason) -> Result<Secret, TokenError> {
        match self {
            Self::Fixed(token) if why == TokenReason::Needed => Ok(token.clone()),
            Self::Fixed(_) => Err(TokenError::SignedOut),
            Self::File(path) => token_in(path).map_err(|why| {
                tracing::warn!(why, "the token file cannot be read");
                TokenError::Unavailable
            }),
        }
    }
}

fn token_in(path: &Path) -> Result<Secret, String> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(TOKEN_BYTES_MAX).read_to_string(&mut text))
        .map_err(|e| e.to_string())?;
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

const DEMO_URL: &str = "http://127.0.0.1:8787";
const DEMO_TOKEN: &str = "demo-token";
const TOKEN_BYTES_MAX: u64 = 64 << 10;
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
