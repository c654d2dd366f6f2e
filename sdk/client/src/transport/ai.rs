//! Requests for AI sessions and tasks: the only ones that carry the session's cookie.

use bytes::Bytes;
use evenkeel_proto::failure::Request;
use evenkeel_proto::wire::{AI_SESSION_COOKIE, Secret};
use evenkeel_proto::{Cause, Failure};
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE};
use http::{HeaderMap, HeaderValue, Method};
use serde::de::DeserializeOwned;

use super::{JSON, Transport, bearer, body};

/// One request under `/api/v1/auth` or `/api/v1/ai`.
pub(crate) struct AiRequest<'a> {
    pub(crate) path: &'static str,
    /// Nothing is a GET.
    pub(crate) body: Option<&'a Bytes>,
    pub(crate) token: Option<Secret>,
    pub(crate) cookie: Option<Secret>,
    /// What else must not come back in a failure's words.
    pub(crate) hidden: Option<&'a Secret>,
}

impl Transport {
    /// As long as it takes: the caller has the deadline.
    pub(crate) async fn ai<T: DeserializeOwned + Send + 'static>(
        &self,
        asked: AiRequest<'_>,
    ) -> Result<(HeaderMap, T), Failure> {
        let url = self.endpoints.at(asked.path);
        let mut request = match asked.body {
            None => self.request(Method::GET, url),
            Some(body) => self
                .request(Method::POST, url)
                .header(CONTENT_TYPE, HeaderValue::from_static(JSON))
                .body(body.clone()),
        };
        if let Some(token) = &asked.token {
            request = request.header(AUTHORIZATION, bearer(token)?);
        }
        if let Some(cookie) = &asked.cookie {
            request = request.header(COOKIE, session(cookie)?);
        }
        let response = self.send(request).await?;
        if !response.status().is_success() {
            let secrets = [&asked.token, &asked.cookie].map(Option::as_ref);
            let secrets = secrets.into_iter().chain([asked.hidden]).flatten();
            let secrets: Vec<&Secret> = secrets.collect();
            let bytes_max = self.limits.small_bytes_max;
            return Err(body::refusal(Request::Other, &secrets, response, bytes_max).await);
        }
        let answer = body::whole(response, ANSWER_BYTES_MAX).await?;
        let headers = answer.headers.clone();
        Ok((headers, body::parse(Request::Other, answer).await?))
    }
}

fn session(cookie: &Secret) -> Result<HeaderValue, Failure> {
    let pair = format!("{AI_SESSION_COOKIE}={}", cookie.expose());
    let mut value = HeaderValue::try_from(pair).map_err(|_| {
        let message = "the AI session given by the app cannot be sent in a header";
        Failure::local(Cause::BadRequest, message)
    })?;
    value.set_sensitive(true);
    Ok(value)
}

const ANSWER_BYTES_MAX: usize = 4 << 20;
