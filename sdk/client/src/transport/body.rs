//! Bodies, read with a limit while they come.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use evenkeel_proto::failure::Request;
use evenkeel_proto::wire::Secret;
use evenkeel_proto::{Cause, Failure};
use http::HeaderMap;
use serde::de::DeserializeOwned;

use super::{Answer, classify, scrub};

/// Told now and then while a body comes.
pub(crate) struct Progress(Box<dyn Fn() + Send + Sync>);

impl Progress {
    pub(crate) fn new(tell: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Box::new(tell))
    }

    /// For answers too small to wait for.
    pub(super) fn none() -> Self {
        Self::new(|| {})
    }
}

/// The whole body of a good answer.
pub(super) async fn whole(
    mut response: reqwest::Response,
    bytes_max: usize,
    progress: &Progress,
) -> Result<Answer, Failure> {
    let too_large = || {
        Failure::local(
            Cause::ResponseTooLarge,
            format!("an answer of more than {bytes_max} bytes"),
        )
    };
    let announced = response.content_length().unwrap_or(0);
    if announced > bytes_max as u64 {
        return Err(too_large());
    }
    let mut body = BytesMut::new();
    let mut told = Instant::now();
    while let Some(chunk) = response.chunk().await.map_err(|e| classify(&e))? {
        if body.len() + chunk.len() > bytes_max {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
        if told.elapsed() >= PROGRESS_INTERVAL {
            told = Instant::now();
            (progress.0)();
        }
    }
    Ok(Answer {
        headers: std::mem::take(response.headers_mut()),
        body: body.freeze(),
    })
}

/// What an answer means that is not what was asked for. Its body is read as far as it is readable
/// and comes soon: its status speaks for itself, and a floor in its headers must not be lost to a
/// body that never ends. The secret that was sent is taken out: a service may say it back.
pub(super) async fn refusal(
    kind: Request,
    sent: &Secret,
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
    let body = scrub::without(sent, &body);
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
    serde_json::from_slice(body).map_err(|error| {
        let mut failure = Failure::from_response(kind, 200, headers, &body[..body.len().min(4096)]);
        if failure.cause == Cause::BadResponse {
            // Where and how, never what: records are personal.
            let (line, column) = (error.line(), error.column());
            failure.message = format!(
                "the answer cannot be read: {} at line {line} column {column}",
                category(&error)
            );
        }
        failure
    })
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
/// A refusal is short; what takes longer would only run into the engine's watchdogs.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(2);
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);
