//! AI sessions, and calls with them.

use std::time::Duration;

use evenkeel::wire::{AiProvider, AiScope};
use evenkeel::{AiClient, AiError, Secret};

use super::state::Session;
use crate::cli::Service;
use crate::connect;
use crate::exit::Failed;
use crate::handshake;
use crate::probe::shown;

/// What became of a call.
pub(super) struct Called {
    pub(super) state: handshake::State,
    pub(super) words: String,
}

impl Session {
    /// A client that goes on with this session.
    pub(super) fn client(&self, service: &Service) -> Result<AiClient, Failed> {
        if self.scope == AiScope::Account {
            return connect::ai_of_account(service);
        }
        let client = connect::ai_of_device(service)?;
        if let Some(cookie) = &self.cookie {
            client.set_device_session(cookie.clone());
        }
        Ok(client)
    }
}

/// A session of this device, or of the account where `client` has a token.
pub(super) async fn open(
    client: &AiClient,
    scope: AiScope,
    provider: AiProvider,
    key: &Secret,
) -> Result<Session, AiError> {
    let there = match scope {
        AiScope::Account => Some(client.session().await?).filter(|session| session.connected),
        _ => None,
    };
    let ours = there.is_none();
    let session = match there {
        Some(session) => session,
        None => client.connect(provider, key.clone()).await?,
    };
    Ok(Session {
        scope: session.scope.unwrap_or(scope),
        cookie: client.device_session(),
        ours,
        expires_at_ms: session.expires_at.and_then(|at| u64::try_from(at.0).ok()),
        moved: false,
    })
}

/// A real call: only the provider's answer shows that the key could be opened.
pub(super) async fn call(client: &AiClient) -> Called {
    let state = |state, words: String| Called { state, words };
    match client.with_deadline(CALL_TIME_MAX).analyze(CONTENT).await {
        Ok(_) => state(handshake::State::Pass, "works".to_owned()),
        Err(error @ AiError::NotConnected) => {
            state(handshake::State::Fail, shown(&error.to_string()))
        }
        // Whether its key could be opened, nobody knows.
        Err(error) => state(handshake::State::Unknown, shown(&error.to_string())),
    }
}

/// With the client's own repeats in it.
const CALL_TIME_MAX: Duration = Duration::from_secs(20);
const CONTENT: &str = "Drill: this text only shows that a session works.";
