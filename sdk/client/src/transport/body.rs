//! Bodies, read with a limit while they come.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use evenkeel_proto::failure::Request;
use evenkeel_proto::wire::{Scale, Secret};
use evenkeel_proto::{Cause, Failure};
use http::HeaderMap;
use serde::de::DeserializeOwned;

use super::{Answer, classify, scrub};

/// The whole body of a small answer.
pub(super) async fn whole(
    response: reqwest::Response,
    bytes_max: usize,
) -> Result<Answer, Failure> {
    let mut arriving = Arriving::new(response, bytes_max)?;
    let mut body = BytesMut::new();
    while let Some(chunk) = arriving.chunk().await? {
        body.extend_from_slice(&chunk);
    }
    Ok(Answer {
        headers: arriving.headers(),
        body: body.freeze(),
    })
}

/// A body as it comes, never more of it than allowed.
pub(super) struct Arriving {
    response: reqwest::Response,
    bytes: usize,
    bytes_max: usize,
}

impl Arriving {
    pub(super) fn new(response: reqwest::Response, bytes_max: usize) -> Result<Self, Failure> {
        let announced = response.content_length().unwrap_or(0);
        let arriving = Self {
            response,
            bytes: 0,
            bytes_max,
        };
        if announced > bytes_max as u64 {
            return Err(arriving.too_large());
        }
        Ok(arriving)
    }

    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        let Some(chunk) = self.response.chunk().await.map_err(|e| classify(&e))? else {
            return Ok(None);
        };
        self.bytes += chunk.len();
        if self.bytes > self.bytes_max {
            return Err(self.too_large());
        }
        Ok(Some(chunk))
    }

    pub(super) fn headers(&mut self) -> HeaderMap {
        std::mem::take(self.response.headers_mut())
    }

    fn too_large(&self) -> Failure {
        let message = format!("an answer of more than {} bytes", self.bytes_max);
        Failure::local(Cause::ResponseTooLarge, message)
    }
}

/// What an answer means that is not what was asked for. Its body is read as far as it is readable
/// and comes soon: its status speaks for itself, and a floor in its headers must not be lost to a
/// body that never ends. The secrets that were sent are taken out: a service may say it back.
pub(super) async fn refusal(
    kind: Request,
    sent: &[&Secret],
    mut response: reqwest::Response,
    bytes_max: usize,
) -> Failure {
    let mut body = BytesMut::new();
    let reading = async {
        while let Ok(Some(chunk)) = response.chunk().await {
            let room = bytes_max - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if body.len() == bytes_max {
                break;
            }
        }
    };
    let _read_in_time = tokio::time::timeout(REFUSAL_PATIENCE, reading).await;
    let status = response.status().as_u16();
    let mut body = body.to_vec();
    for secret in sent {
        if let std::borrow::Cow::Owned(clean) = scrub::without(secret, &body) {
            body = clean;
        }
    }
    Failure::from_response(kind, status, response.headers(), &body)
}

/// Reads a good answer's JSON; a large one on a thread of its own, so that nothing else waits for it.
pub(crate) async fn parse<T: DeserializeOwned + Send + 'static>(
    kind: Request,
    answer: Answer,
) -> Result<T, Failure> {
    let Answer { headers, body } = answer;
    if body.len() <= INLINE_BYTES_MAX {
        return read(kind, &headers, &body);
    }
    let reading = tokio::task::spawn_blocking(move || read(kind, &headers, &body));
    reading.await.unwrap_or_else(|_| {
        Err(Failure::local(
            Cause::BadResponse,
            "reading the answer was given up",
        ))
    })
}

fn read<T: DeserializeOwned>(
    kind: Request,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<T, Failure> {
    if !Scale::fits(body, TREE_BYTES_MAX) {
        return Err(unfolds());
    }
    serde_json::from_slice(body).map_err(|error| unreadable(kind, headers, body, &error))
}

/// What an answer is that would take far more memory than it has bytes.
pub(crate) fn unfolds() -> Failure {
    let message = "an answer that unfolds to more than it may hold in memory";
    Failure::local(Cause::ResponseTooLarge, message)
}

/// What a 2xx means whose body is not what was asked for; its first bytes are enough.
pub(crate) fn unreadable(
    kind: Request,
    headers: &HeaderMap,
    head: &[u8],
    error: &serde_json::Error,
) -> Failure {
    let head = &head[..head.len().min(HEAD_BYTES)];
    let mut failure = Failure::from_response(kind, 200, headers, head);
    if failure.cause == Cause::BadResponse {
        // Where and how, never what: records are personal.
        let (line, column) = (error.line(), error.column());
        failure.message = format!(
            "the answer cannot be read: {} at line {line} column {column}",
            category(error)
        );
    }
    failure
}

fn category(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Io => "input",
        serde_json::error::Category::Syntax => "not JSON",
        serde_json::error::Category::Data => "not the contract's shape",
        serde_json::error::Category::Eof => "it ends too soon",
    }
}

const INLINE_BYTES_MAX: usize = 256 << 10;
/// How much structure one answer, or one record of a longer one, may be: more than ten thousand
/// ordinary records.
pub(crate) const TREE_BYTES_MAX: usize = 64 << 20;
/// A refusal is short; what takes longer would only run into the engine's watchdogs.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(2);
/// As much as it takes to see whether it is a page for people.
pub(crate) const HEAD_BYTES: usize = 4096;
