//! AI sessions, and calls with them.

use std::time::Duration;

use evenkeel::wire::{AiProvider, AiScope};
use evenkeel::{AiClient, AiError, Secret};
use evenkeel_proto::wire::UnixMillis;

use super::state::{Key, Session, State};
use crate::cli::Service;
use crate::connect;
use crate::exit::Failed;
use crate::handshake::State as Is;
use crate::probe::shown;
use crate::status_line::wall_ms;

/// What became of a call.
pub(super) struct Called {
    pub(super) state: Is,
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
    let at = |time: Option<UnixMillis>| time.map(|time| time.0);
    let (from, to) = (at(session.connected_at), at(session.expires_at));
    Ok(Session {
        scope: session.scope.unwrap_or(scope),
        cookie: client.device_session(),
        ours,
        connected_at_ms: from,
        lives_ms: to.map(|to| lives_ms(from, to)),
        key: Key::Old,
    })
}

/// By the service's clock alone where it tells both ends. Else this machine's has to do, which may be
/// ahead: not less than the contract's lifetime then.
fn lives_ms(from: Option<i64>, to: i64) -> u64 {
    let since = |from: i64| u64::try_from(to.saturating_sub(from)).unwrap_or(0);
    match from {
        Some(from) => since(from),
        None => since(i64::try_from(wall_ms()).unwrap_or(i64::MAX)).max(LIFETIME_MS),
    }
}

/// A real call: only the provider's answer shows that the key could be opened. The status opens none.
pub(super) async fn call(client: &AiClient) -> Called {
    let client = client.with_deadline(CALL_TIME_MAX);
    let (state, words) = match client.analyze(CONTENT).await {
        Ok(_) => (Is::Pass, "works".to_owned()),
        Err(AiError::NotConnected) => match client.session().await {
            Ok(session) if !session.connected => {
                (Is::Unknown, "the session is there no more".to_owned())
            }
            _ => (Is::Fail, "the key of the session cannot be used".to_owned()),
        },
        // Whether its key could be opened, nobody says.
        Err(error) => (Is::Unknown, shown(&error.to_string())),
    };
    Called { state, words }
}

/// Ends what the drill opened, and nothing that somebody has connected since. Says what could not be ended.
pub(super) async fn close(service: &Service, state: &State) -> Result<Vec<String>, Failed> {
    let mut left = Vec::new();
    for session in state.sessions.iter().filter(|session| session.ours) {
        let client = session.client(service)?;
        let there = match client.session().await {
            Ok(there) if there.connected => there.connected_at.map(|time| time.0),
            Ok(_) => continue,
            Err(error) => {
                left.push(left_open(session, &error));
                continue;
            }
        };
        let same = session.scope != AiScope::Account || there == session.connected_at_ms;
        if !same {
            continue;
        }
        if let Err(error) = client.disconnect().await {
            left.push(left_open(session, &error));
        }
    }
    Ok(left)
}

fn left_open(session: &Session, error: &AiError) -> String {
    let (id, why) = (id(&session.scope), shown(&error.to_string()));
    format!(
        "A session of the drill ({id}) could not be closed: {why}. Disconnect it, or revoke its key."
    )
}

pub(super) fn id(scope: &AiScope) -> &'static str {
    match scope {
        AiScope::Account => "account",
        _ => "device",
    }
}

/// With the client's own repeats in it.
const CALL_TIME_MAX: Duration = Duration::from_secs(20);
/// The contract's, of a device's session.
const LIFETIME_MS: u64 = 24 * 3600 * 1000;
const CONTENT: &str = "Drill: this text only shows that a session works.";
