//! AI sessions and tasks, which the edge serves itself.
//!
//! A caller with a token has a session of the account; one without has a session of the device, by a
//! cookie. A caller with both is served by the account's session where there is one.

mod provider;
mod seal;
mod sessions;
mod tasks;

use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use evenkeel_proto::wire::{
    AI_SESSION_COOKIE, AiProvider, AiScope, AiSession, AiTask, ConnectRequest, SameSite, Secret,
    SetCookie, path,
};
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Edge;
use super::circuit::Circuit;
use crate::answer::{self, Refusal};
use crate::caller::{auth_required, bearer};
use crate::clock::Clock;
use crate::faults::SignIn;
use crate::hex::hex;
use crate::secrets::{SecretName, SecretState};
use crate::store::DatabaseError;
use seal::Seal;
use sessions::Session;
pub(crate) use sessions::Sessions;
use tasks::Asked;

/// Who asks.
struct Visitor {
    user: Option<String>,
    cookie: Option<Secret>,
}

impl Edge {
    /// Whether a path is one of these.
    pub(super) fn serves(asked: &str) -> bool {
        let sessions = [path::AI_CONNECT, path::AI_STATUS, path::AI_DISCONNECT];
        sessions.contains(&asked) || AiTask::of_path(asked).is_some()
    }

    pub(super) async fn ai(&self, request: Request) -> Result<Response, Refusal> {
        let (head, body) = request.into_parts();
        let asked = head.uri.path();
        let task = AiTask::of_path(asked);
        let wanted = match asked {
            path::AI_STATUS => Method::GET,
            _ => Method::POST,
        };
        if head.method != wanted {
            return Err(Refusal::not_found());
        }
        if task.is_some() {
            let fault = self.faults.now().ai_rate_limited.clone();
            let allowance = self.ai_limiter.take(&head.headers, fault.as_ref());
            if allowance.exceeded {
                return Err(allowance.refusal());
            }
        }
        let body = self.read_body(body).await?;
        self.kv_up()?;
        let visitor = self.visitor(&head.headers)?;
        match (asked, task) {
            (path::AI_CONNECT, _) => self.connect(visitor, &body).await,
            (path::AI_STATUS, _) => self.status(visitor).await,
            (_, Some(task)) => {
                let asked = Asked::read(task, &body)?;
                self.perform(&visitor, &asked).await
            }
            _ => self.disconnect(visitor).await,
        }
    }

    async fn connect(&self, visitor: Visitor, body: &[u8]) -> Result<Response, Refusal> {
        let request: ConnectRequest = serde_json::from_slice(body)
            // The body holds a key, and serde's words may hold a piece of the body.
            .map_err(|_| Refusal::bad_request("provider and apiKey are needed"))?;
        if matches!(request.provider, AiProvider::Other(_)) {
            return Err(Refusal::bad_request("there is no such provider"));
        }
        let key = request.api_key.expose();
        let usable = key.bytes().all(|b| b.is_ascii_graphic());
        if !usable || !(1..=KEY_BYTES_MAX).contains(&key.len()) {
            return Err(Refusal::bad_request("the key cannot be one"));
        }
        let now_ms = Clock::true_ms();
        let lives = i64::try_from(self.settings.ai_session_ms).unwrap_or(i64::MAX);
        // A new device session has a new name, so that an old cookie is good for nothing.
        let named = Secret::new(format!(
            "{}{}",
            Uuid::new_v4().simple(),
            Uuid::new_v4().simple()
        ));
        let (place, scope, ends) = match &visitor.user {
            Some(user) => (account_place(user), AiScope::Account, None),
            None => (
                device_place(&named),
                AiScope::Device,
                Some(now_ms.saturating_add(lives)),
            ),
        };
        let seal = self.active_seal()?;
        let sealed = seal.close(&place, &request.api_key);
        let session = Session {
            provider: request.provider,
            scope: scope.clone(),
            connected_at_ms: now_ms,
            expires_at_ms: ends,
            sealed: sealed.ok_or_else(|| Refusal::internal("the key cannot be kept"))?,
        };
        self.kv_writable()?;
        let kept = self.sessions.keep(place, &session, now_ms).await;
        kept.map_err(|error| self.kv_failed(&error))?;
        let mut response = answer::json(StatusCode::OK, &self.shown(&session));
        if scope == AiScope::Device {
            if let Some(old) = visitor.cookie {
                let forgotten = self.sessions.forget(device_place(&old)).await;
                forgotten.map_err(|error| self.kv_failed(&error))?;
            }
            let age = Duration::from_millis(self.settings.ai_session_ms);
            set_cookie(&mut response, &named, age, self.settings.cookie_secure)?;
        }
        Ok(response)
    }

    async fn status(&self, visitor: Visitor) -> Result<Response, Refusal> {
        let found = self.find(&visitor).await?;
        let shown = found.map_or_else(AiSession::default, |(_, s)| self.shown(&s));
        Ok(answer::json(StatusCode::OK, &shown))
    }

    async fn disconnect(&self, visitor: Visitor) -> Result<Response, Refusal> {
        self.kv_writable()?;
        for place in visitor.places() {
            let forgotten = self.sessions.forget(place).await;
            forgotten.map_err(|error| self.kv_failed(&error))?;
        }
        let mut response = answer::json(StatusCode::OK, &AiSession::default());
        if visitor.cookie.is_some() {
            let secure = self.settings.cookie_secure;
            set_cookie(&mut response, &Secret::new("gone"), Duration::ZERO, secure)?;
        }
        Ok(response)
    }

    async fn perform(&self, visitor: &Visitor, asked: &Asked) -> Result<Response, Refusal> {
        let found = self.find(visitor).await?;
        let (place, session) = found.ok_or_else(|| auth_required("no AI provider is connected"))?;
        let key = self.unseal(place, &session).await?;
        let read = |words: &str| asked.answer(words);
        let answer = self.complete(&session.provider, &key, asked.prompt(), read);
        Ok(answer::json(StatusCode::OK, &answer.await?))
    }

    /// Opens the session's key with the active secret, or with the previous one, and moves it to the
    /// active one then.
    async fn unseal(&self, place: String, session: &Session) -> Result<Secret, Refusal> {
        let active = self.active_seal()?;
        if let Some(key) = active.open(&place, &session.sealed) {
            return Ok(key);
        }
        let previous = self.secrets.usable(SecretName::Previous);
        if self.secrets.state(SecretName::Previous) == SecretState::Invalid {
            self.counters
                .count(|t| t.runtime.invalid_rotation_secret += 1);
        }
        let previous = previous.and_then(|secret| Seal::of(&secret));
        let key = previous.and_then(|seal| seal.open(&place, &session.sealed));
        let Some(key) = key else {
            self.counters.count(|t| t.rotation.decrypt_failures += 1);
            let message = "the AI session cannot be read; connect again";
            return Err(auth_required(message));
        };
        self.counters.count(|t| t.rotation.fallback_decrypts += 1);
        match self.move_to(&active, place, session, &key).await {
            Ok(true) => self.counters.count(|t| t.rotation.reencrypt_successes += 1),
            // Somebody else has moved it, or connected anew: nothing is left under the old secret.
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, "a key stays under the previous secret");
                self.counters.count(|t| t.rotation.reencrypt_failures += 1);
            }
        }
        Ok(key)
    }

    async fn move_to(
        &self,
        active: &Seal,
        place: String,
        session: &Session,
        key: &Secret,
    ) -> Result<bool, DatabaseError> {
        if self.faults.now().edge_kv_read_only {
            return Err(DatabaseError::Away("it takes no writes".to_owned()));
        }
        let sealed = active.close(&place, key);
        let sealed = sealed.ok_or_else(|| DatabaseError::Failed("not sealed".to_owned()))?;
        let moved = Session {
            sealed,
            ..session.clone()
        };
        self.sessions.exchange(place, session, &moved).await
    }

    fn active_seal(&self) -> Result<Seal, Refusal> {
        let seal = self.secrets.usable(SecretName::Active);
        seal.and_then(|secret| Seal::of(&secret)).ok_or_else(|| {
            self.counters
                .count(|t| t.runtime.invalid_encryption_secret += 1);
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            Refusal::new(status, "CONFIG_ERROR", "the edge cannot encrypt sessions")
        })
    }

    async fn find(&self, visitor: &Visitor) -> Result<Option<(String, Session)>, Refusal> {
        for place in visitor.places() {
            let found = self.sessions.find(place.clone(), Clock::true_ms()).await;
            if let Some(session) = found.map_err(|error| self.kv_failed(&error))? {
                return Ok(Some((place, session)));
            }
        }
        Ok(None)
    }

    fn visitor(&self, headers: &HeaderMap) -> Result<Visitor, Refusal> {
        let faults = self.faults.now();
        if let Some(wrong) = faults.edge_sign_in.filter(|_| bearer(headers).is_some()) {
            return Err(self.sign_in_misconfigured(wrong));
        }
        Ok(Visitor {
            user: self.issuer.caller(headers, &faults)?,
            cookie: session_cookie(headers),
        })
    }

    fn sign_in_misconfigured(&self, wrong: SignIn) -> Refusal {
        self.counters.count(|t| {
            *match wrong {
                SignIn::Missing => &mut t.sign_in.missing_clerk_config,
                SignIn::Partial => &mut t.sign_in.partial_clerk_config,
                SignIn::Invalid => &mut t.sign_in.invalid_clerk_config,
            } += 1;
        });
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Refusal::new(status, "CONFIG_ERROR", "the edge cannot tell who signed in")
    }

    fn shown(&self, session: &Session) -> AiSession {
        AiSession {
            connected: true,
            provider: Some(session.provider.clone()),
            scope: Some(session.scope.clone()),
            connected_at: Some(self.clock.shown(session.connected_at_ms)),
            expires_at: session.expires_at_ms.map(|at| self.clock.shown(at)),
        }
    }

    /// Refuses while the session storage is down.
    pub(super) fn kv_up(&self) -> Result<(), Refusal> {
        match self.faults.now().edge_kv_down {
            true => Err(self.kv_failed(&DatabaseError::Away("a fault".to_owned()))),
            false => Ok(()),
        }
    }

    fn kv_writable(&self) -> Result<(), Refusal> {
        match self.faults.now().edge_kv_read_only {
            true => Err(self.kv_failed(&DatabaseError::Away("it takes no writes".to_owned()))),
            false => Ok(()),
        }
    }

    fn kv_failed(&self, error: &DatabaseError) -> Refusal {
        tracing::debug!(%error, "session storage");
        self.counters.count(|t| t.kv_failures += 1);
        let refusal = Refusal::unavailable("kv_unavailable", "the session storage is away");
        refusal.retry_after(KV_RETRY_AFTER)
    }

    fn provider_circuit(&self, provider: &AiProvider) -> &Circuit {
        match provider {
            AiProvider::Gemini => &self.provider_circuits[0],
            _ => &self.provider_circuits[1],
        }
    }
}

impl Visitor {
    /// Where this visitor's sessions are, the one that counts first.
    fn places(&self) -> impl Iterator<Item = String> {
        let account = self.user.as_deref().map(account_place);
        let device = self.cookie.as_ref().map(device_place);
        account.into_iter().chain(device)
    }
}

fn account_place(user: &str) -> String {
    format!("account:{user}")
}

/// Not by the cookie itself: whoever reads the storage cannot take over a session.
fn device_place(cookie: &Secret) -> String {
    format!("device:{}", hex(&Sha256::digest(cookie.expose())))
}

fn session_cookie(headers: &HeaderMap) -> Option<Secret> {
    let lines = headers.get_all(COOKIE).iter();
    let mut pairs = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'));
    pairs.find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == AI_SESSION_COOKIE).then(|| Secret::new(value))
    })
}

fn set_cookie(
    response: &mut Response,
    value: &Secret,
    age: Duration,
    secure: bool,
) -> Result<(), Refusal> {
    let cookie = SetCookie {
        name: AI_SESSION_COOKIE.to_owned(),
        value: value.clone(),
        path: Some("/".to_owned()),
        max_age: Some(answer::round_up(age)),
        http_only: true,
        same_site: Some(SameSite::Lax),
        secure,
    };
    let mut header = HeaderValue::try_from(cookie.to_header())
        .map_err(|_| Refusal::internal("the session is not a header"))?;
    header.set_sensitive(true);
    response.headers_mut().insert(SET_COOKIE, header);
    Ok(())
}

const KEY_BYTES_MAX: usize = 512;
const KV_RETRY_AFTER: Duration = Duration::from_secs(5);
