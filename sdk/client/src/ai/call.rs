//! One call: so many attempts, one deadline, the gates before each.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_proto::failure::Request;
use evenkeel_proto::policy::{Class, rule};
use evenkeel_proto::wire::{AiSession, Secret, path};
use evenkeel_proto::{Cause, Failure, Timestamp};
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;

use super::gates::{Entry, Pass, Way, left};
use super::{AiError, Inner};
use crate::alarm::Alarm;
use crate::clock;
use crate::token::no_token;
use crate::transport::AiRequest;

type Asking<'a> = Pin<Box<dyn Future<Output = Result<AiSession, AiError>> + Send + 'a>>;

/// What a call asks for.
pub(super) struct Ask {
    pub(super) path: &'static str,
    /// Nothing is a GET.
    pub(super) body: Option<Bytes>,
    pub(super) way: Way,
    pub(super) hidden: Option<Secret>,
    /// Whether it may be sent again though it may have been done already.
    pub(super) repeatable: bool,
}

impl Inner {
    pub(super) async fn perform<T: DeserializeOwned + Send + 'static>(
        &self,
        ask: &Ask,
        deadline: Duration,
    ) -> Result<T, AiError> {
        Handle::try_current().map_err(|_| AiError::NoRuntime)?;
        let deadline = clock::now() + deadline;
        let mut attempts = 0;
        let mut refreshed = false;
        let mut last = None;
        loop {
            let pass = match self.pass(&ask.way, deadline).await {
                Ok(pass) => pass,
                Err(held) => return Err(last.map_or(held, |failure| failed(failure, attempts))),
            };
            attempts += 1;
            let failure = match self.attempt(ask, deadline).await {
                Ok(value) => {
                    pass.succeeded();
                    return Ok(value);
                }
                Err(failure) => failure,
            };
            if refused(&failure) {
                drop(pass);
                if !refreshed && self.refreshed(deadline).await? {
                    refreshed = true;
                    continue;
                }
                return Err(self.refused(ask, failure, attempts, deadline).await);
            }
            pass.failed(&failure, clock::now());
            self.met(&failure);
            if attempts >= ATTEMPTS_MAX || !again(ask, &failure) {
                return Err(failed(failure, attempts));
            }
            last = Some(failure);
        }
    }

    /// Waits for the gates, as far as the deadline allows.
    async fn pass(&self, way: &Way, deadline: Timestamp) -> Result<Pass<'_>, AiError> {
        let mut alarm = Alarm::new();
        loop {
            let mut moves = self.gates.moves();
            let now = clock::now();
            let trouble = match self.gates.enter(way, now) {
                Entry::Pass(pass) => return Ok(pass),
                Entry::Closed(trouble) if trouble.until < deadline => {
                    alarm.set(Some(trouble.until));
                    alarm.ring().await;
                    continue;
                }
                Entry::Closed(trouble) => trouble,
                Entry::Probed(trouble) => {
                    alarm.set(Some(deadline));
                    tokio::select! {
                        _ = moves.changed() => continue,
                        () = alarm.ring() => trouble,
                    }
                }
            };
            return Err(AiError::Held {
                wait: left(trouble, now),
                cause: trouble.cause,
            });
        }
    }

    async fn attempt<T: DeserializeOwned + Send + 'static>(
        &self,
        ask: &Ask,
        deadline: Timestamp,
    ) -> Result<T, Failure> {
        let attempt = async {
            let token = match &self.tokens {
                Some(tokens) => Some(tokens.current().await?),
                None => None,
            };
            let asked = AiRequest {
                path: ask.path,
                body: ask.body.as_ref(),
                token,
                cookie: self.jar.value(),
                hidden: ask.hidden.as_ref(),
            };
            self.transport.ai(asked).await
        };
        let left = deadline.since(clock::now());
        let Ok(answer) = tokio::time::timeout(left, attempt).await else {
            // Nobody knows whether that connection lives.
            self.transport.renew();
            let message = "no complete answer in time";
            return Err(Failure::local(Cause::ResponseTimeout, message));
        };
        let (headers, value) = answer?;
        self.jar.read(&headers);
        Ok(value)
    }

    /// Asks the app for another token, if it has any.
    async fn refreshed(&self, deadline: Timestamp) -> Result<bool, AiError> {
        let Some(tokens) = &self.tokens else {
            return Ok(false);
        };
        let left = deadline.since(clock::now());
        match tokio::time::timeout(left, tokens.refresh()).await {
            Ok(Ok(())) => Ok(true),
            Ok(Err(error)) if no_token(error).cause == Cause::AuthRequired => Ok(false),
            Ok(Err(error)) => Err(failed(no_token(error), 1)),
            Err(_) => {
                let message = "no token in time";
                Err(failed(Failure::local(Cause::TokenUnavailable, message), 1))
            }
        }
    }

    /// Whether the user has to sign in, or to connect a provider.
    async fn refused(
        &self,
        ask: &Ask,
        failure: Failure,
        attempts: u32,
        deadline: Timestamp,
    ) -> AiError {
        let task = matches!(ask.way, Way::Task(_));
        if task && self.tokens.is_none() {
            self.knows(None);
            return AiError::NotConnected;
        }
        if task {
            let left = deadline.since(clock::now());
            return match self.session(left).await {
                // A session that the service cannot use is as good as none.
                Ok(_) => {
                    self.knows(None);
                    AiError::NotConnected
                }
                Err(error) => error,
            };
        }
        self.signed_out();
        failed(failure, attempts)
    }

    /// Boxed: a task that is refused asks for the session, which is a call itself.
    pub(super) fn session(&self, deadline: Duration) -> Asking<'_> {
        let ask = Ask {
            path: path::AI_STATUS,
            body: None,
            way: Way::Session,
            hidden: None,
            repeatable: true,
        };
        Box::pin(async move {
            let session: AiSession = self.perform(&ask, deadline).await?;
            self.knows(Some(&session));
            Ok(session)
        })
    }
}

fn refused(failure: &Failure) -> bool {
    failure.cause == Cause::AuthRequired
}

const fn failed(failure: Failure, attempts: u32) -> AiError {
    AiError::Failed { failure, attempts }
}

/// Whether the same request may do better a moment later.
fn again(ask: &Ask, failure: &Failure) -> bool {
    if failure.http_status.is_some_and(|s| s < 500) {
        return false;
    }
    let undone = matches!(
        failure.cause,
        Cause::DnsFailed
            | Cause::ConnectFailed
            | Cause::TlsFailed
            | Cause::TokenUnavailable
            | Cause::KvUnavailable
    );
    let passes = matches!(
        rule(failure.cause, Request::Other).class,
        Class::Backoff | Class::Gate
    );
    passes && (ask.repeatable || undone)
}

const ATTEMPTS_MAX: u32 = 3;
