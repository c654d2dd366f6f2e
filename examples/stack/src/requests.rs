//! What arrived when: the evidence that a client kept its distance.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evenkeel_proto::wire::{AiTask, path};
use serde::Serialize;

use crate::clock::Stopwatch;
use crate::provider;
use crate::settings::Settings;

/// One request, as it arrived at one part of the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RequestRecord {
    /// Where it arrived.
    pub part: Part,
    /// When, in milliseconds since the log began; both parts of one [`Stack`](crate::Stack) count alike.
    pub at_ms: u64,
    /// `GET`, `POST` and so on.
    pub method: String,
    /// The path without its query: a query may hold a ticket.
    pub path: String,
    /// The version of HTTP that it came in: `1.0`, `1.1` or `2`.
    pub http_version: &'static str,
    /// What it was for.
    pub lane: Lane,
    /// `X-Device-Id` as it was sent.
    pub device_id: Option<String>,
    /// The answer's status; `None` until there is one, and for ever where the connection broke first.
    pub status: Option<u16>,
    /// When the answer's headers left.
    pub answered_at_ms: Option<u64>,
    /// The refusal's `code`, where the answer was one.
    pub code: Option<&'static str>,
    /// The refusal's `cause`, where it had one.
    pub cause: Option<&'static str>,
    /// How long the answer told the client to wait.
    pub retry_after_ms: Option<u64>,
}

/// A part of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// In front.
    Edge,
    /// Behind it.
    Origin,
    /// The AI provider.
    Provider,
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// A ticket.
    Ticket,
    /// The event stream.
    Stream,
    /// A page of changes.
    Pull,
    /// A batch of operations.
    Push,
    /// The snapshot.
    Snapshot,
    /// The first import.
    Bootstrap,
    /// The devices.
    Devices,
    /// An AI session or task.
    Ai,
    /// Diagnostics.
    Diagnostics,
    /// Anything else.
    Other,
}

impl Lane {
    /// What a path is for.
    #[must_use]
    pub fn of(request_path: &str) -> Self {
        match request_path {
            path::TICKET => Self::Ticket,
            path::EVENTS => Self::Stream,
            path::PULL => Self::Pull,
            path::PUSH => Self::Push,
            path::NOTES => Self::Snapshot,
            path::BOOTSTRAP => Self::Bootstrap,
            path::HEALTH | path::READY | path::ORIGIN_METRICS | path::EDGE_METRICS => {
                Self::Diagnostics
            }
            path::AI_CONNECT | path::AI_STATUS | path::AI_DISCONNECT => Self::Ai,
            provider::COMPLETIONS => Self::Ai,
            _ if AiTask::of_path(request_path).is_some() => Self::Ai,
            _ if request_path.starts_with(path::DEVICES) => Self::Devices,
            _ => Self::Other,
        }
    }
}

/// The log of requests; every clone is the same log. It forgets the oldest beyond its limit.
#[derive(Clone, Debug)]
pub struct Requests {
    watch: Stopwatch,
    log: Arc<Mutex<Log>>,
}

#[derive(Debug)]
struct Log {
    records: VecDeque<RequestRecord>,
    forgotten: u64,
    records_max: usize,
}

impl Default for Requests {
    fn default() -> Self {
        Self::new(Settings::default().request_log_max)
    }
}

impl Requests {
    /// Remembers at most so many.
    #[must_use]
    pub fn new(records_max: u64) -> Self {
        Self {
            watch: Stopwatch::start(),
            log: Arc::new(Mutex::new(Log {
                records: VecDeque::new(),
                forgotten: 0,
                records_max: usize::try_from(records_max).unwrap_or(usize::MAX),
            })),
        }
    }

    /// The time that the records count in, now.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.watch.ms()
    }

    /// Every request that is remembered, in the order of arrival.
    #[must_use]
    pub fn all(&self) -> Vec<RequestRecord> {
        self.lock().records.iter().cloned().collect()
    }

    /// Those that arrived at one part.
    #[must_use]
    pub fn at(&self, part: Part) -> Vec<RequestRecord> {
        let mut records = self.all();
        records.retain(|record| record.part == part);
        records
    }

    /// Those of one client, as they arrived at the edge.
    #[must_use]
    pub fn of_device(&self, device_id: &str) -> Vec<RequestRecord> {
        let mut records = self.at(Part::Edge);
        records.retain(|record| record.device_id.as_deref() == Some(device_id));
        records
    }

    /// Forgets everything so far; time goes on.
    pub fn clear(&self) {
        let mut log = self.lock();
        log.forgotten += log.records.len() as u64;
        log.records.clear();
    }

    pub(crate) fn arrived<B>(&self, part: Part, request: &http::Request<B>) -> Arrival {
        let mut log = self.lock();
        if log.records.len() >= log.records_max {
            log.records.pop_front();
            log.forgotten += 1;
        }
        let number = log.forgotten + log.records.len() as u64;
        let device_id = request.headers().get(path::DEVICE_ID_HEADER);
        log.records.push_back(RequestRecord {
            part,
            at_ms: self.watch.ms(),
            method: short(request.method().as_str()),
            path: short(request.uri().path()),
            http_version: version(request.version()),
            lane: Lane::of(request.uri().path()),
            device_id: device_id.and_then(|id| id.to_str().ok()).map(short),
            status: None,
            answered_at_ms: None,
            code: None,
            cause: None,
            retry_after_ms: None,
        });
        Arrival(number)
    }

    pub(crate) fn answered<B>(&self, arrival: &Arrival, response: &http::Response<B>) {
        let at_ms = self.watch.ms();
        let mut log = self.lock();
        let Some(index) = arrival.0.checked_sub(log.forgotten) else {
            return;
        };
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        let Some(record) = log.records.get_mut(index) else {
            return;
        };
        record.status = Some(response.status().as_u16());
        record.answered_at_ms = Some(at_ms);
        if let Some(verdict) = response.extensions().get::<Verdict>() {
            record.code = Some(verdict.code);
            record.cause = verdict.cause;
            record.retry_after_ms = verdict.retry_after_ms;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names a record that still waits for its answer.
#[derive(Debug)]
pub(crate) struct Arrival(u64);

/// What a refusal said, left in the response for the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    pub(crate) code: &'static str,
    pub(crate) cause: Option<&'static str>,
    pub(crate) retry_after_ms: Option<u64>,
}

const fn version(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_2 => "2",
        http::Version::HTTP_10 => "1.0",
        _ => "1.1",
    }
}

/// What a client sends is kept no longer than this, so that the log's size is known.
fn short(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

const TEXT_CHARS_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_forgets_the_oldest_and_still_finds_the_rest() {
        let requests = Requests::new(2);
        let get = |path: &str| http::Request::get(path.to_owned()).body(()).unwrap();
        let ok = http::Response::new(());
        let first = requests.arrived(Part::Edge, &get("/1"));
        let second = requests.arrived(Part::Edge, &get("/2?ticket=secret"));
        let third = requests.arrived(Part::Origin, &get("/3"));
        requests.answered(&first, &ok);
        requests.answered(&third, &ok);
        let all = requests.all();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].path.as_str(), all[0].status), ("/2", None));
        assert_eq!((all[1].path.as_str(), all[1].status), ("/3", Some(200)));
        requests.clear();
        requests.answered(&second, &ok);
        assert!(requests.all().is_empty());
    }
}
