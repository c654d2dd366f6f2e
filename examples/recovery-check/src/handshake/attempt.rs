//! One handshake, phase by phase.

use std::time::Duration;

use evenkeel_proto::sse::{Decoder, Item, Limits};
use evenkeel_proto::wire::path::TICKET;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use super::State;
use super::ticket::Ticket;
use crate::probe::{Phase, Probe, Refusal, Request, Sent, Target, Trouble, Way, ms, open};

/// What came of it. Phases that were not reached are not there.
#[derive(Debug, Serialize)]
pub(crate) struct Attempt {
    pub(crate) phases: Vec<Step>,
    pub(crate) checks: Vec<Check>,
}

/// One phase, with how long it took.
#[derive(Debug, Serialize)]
pub(crate) struct Step {
    pub(crate) id: &'static str,
    pub(crate) state: State,
    pub(crate) took_ms: Option<f64>,
    pub(crate) evidence: String,
}

/// Something that must hold besides.
#[derive(Debug, Serialize)]
pub(crate) struct Check {
    pub(crate) id: &'static str,
    pub(crate) state: State,
    pub(crate) evidence: String,
}

impl Attempt {
    /// The worst of it.
    pub(crate) fn state(&self) -> State {
        let phases = self.phases.iter().map(|phase| phase.state);
        let checks = self.checks.iter().map(|check| check.state);
        phases.chain(checks).max().unwrap_or(State::Unknown)
    }

    /// In one line: what failed, or how long it took.
    pub(crate) fn words(&self) -> String {
        let phases = self.phases.iter().map(|p| (p.id, p.state, &p.evidence));
        let checks = self.checks.iter().map(|c| (c.id, c.state, &c.evidence));
        let bad: Vec<_> = phases
            .chain(checks)
            .filter(|(_, state, _)| *state != State::Pass)
            .map(|(id, _, evidence)| format!("{id}: {evidence}"))
            .collect();
        if !bad.is_empty() {
            return bad.join("; ");
        }
        let took = self.phases.iter();
        let took = took.filter_map(|p| Some(format!("{} {:.1} ms", p.id, p.took_ms?)));
        took.collect::<Vec<_>>().join(", ")
    }

    fn passed(&mut self, id: &'static str, took: Duration, evidence: impl Into<String>) {
        self.phases.push(Step {
            id,
            state: State::Pass,
            took_ms: Some(ms(took)),
            evidence: evidence.into(),
        });
    }

    fn failed(&mut self, id: &'static str, evidence: impl Into<String>) {
        self.phases.push(Step {
            id,
            state: State::Fail,
            took_ms: None,
            evidence: evidence.into(),
        });
    }

    /// The phases of the way, as far as it was gone.
    fn gone(&mut self, way: &Way, tls: bool) {
        let address = way.address.map(|a| a.to_string()).unwrap_or_default();
        if let Some(took) = way.dns {
            self.passed("dns", took, address);
        }
        if let Some(took) = way.connect {
            self.passed("connect", took, "");
        }
        match way.tls {
            Some(took) => self.passed("tls", took, ""),
            None if !tls && way.connect.is_some() => self.phases.push(Step {
                id: "tls",
                state: State::Pass,
                took_ms: None,
                evidence: "none: plain http on loopback".to_owned(),
            }),
            None => {}
        }
    }
}

/// Takes a ticket, opens a stream with it, and waits for its first heartbeat at most so long.
pub(crate) async fn attempt(probe: &Probe, heartbeat_within: Duration) -> Attempt {
    let mut attempt = Attempt {
        phases: Vec::new(),
        checks: Vec::new(),
    };
    let Some(edge) = &probe.edge else {
        attempt.failed("dns", "nobody said where the edge is");
        return attempt;
    };
    let Some(ticket) = take_ticket(probe, edge, &mut attempt).await else {
        return attempt;
    };
    attempt.checks.push(ticket.check(edge.tls));
    stream(probe, edge, &ticket, heartbeat_within, &mut attempt).await;
    attempt
}

async fn take_ticket(probe: &Probe, edge: &Target, attempt: &mut Attempt) -> Option<Ticket> {
    let mut way = Way::default();
    let begun = Instant::now();
    let request = Request::post(TICKET).of(probe).within(ANSWER_WITHIN);
    let answer = request
        .send(edge, &probe.tls, TICKET_BYTES_MAX, &mut way)
        .await;
    attempt.gone(&way, edge.tls);
    let answer = match answer {
        Ok(answer) => answer,
        Err(trouble) => {
            attempt.failed(phase(&trouble, "ticket"), trouble.message);
            return None;
        }
    };
    let before: Duration = [way.dns, way.connect, way.tls].into_iter().flatten().sum();
    match Ticket::read(&answer) {
        Ok(ticket) => {
            attempt.passed("ticket", begun.elapsed().saturating_sub(before), "");
            Some(ticket)
        }
        Err(why) => {
            attempt.failed("ticket", why);
            None
        }
    }
}

async fn stream(
    probe: &Probe,
    edge: &Target,
    ticket: &Ticket,
    heartbeat_within: Duration,
    attempt: &mut Attempt,
) {
    // A connection of its own, made before the clock of this phase starts.
    let mut way = Way::default();
    let until = Instant::now() + ANSWER_WITHIN;
    let connection = open(edge, &probe.tls, until, &mut way).await;
    let mut connection = match connection {
        Ok(connection) => connection,
        Err(trouble) => return attempt.failed("headers", trouble.to_string()),
    };
    let request = ticket.stream().within(ANSWER_WITHIN);
    let begun = Instant::now();
    let mut sent = match connection.send(request, edge, until, &mut way).await {
        Ok(sent) => sent,
        Err(trouble) => return attempt.failed("headers", trouble.message),
    };
    if sent.status != 200 || !is_stream(&sent) {
        let status = sent.status;
        let answer = sent.read(TICKET_BYTES_MAX, Instant::now() + ANSWER_WITHIN);
        let why = match answer.await.and_then(|answer| Refusal::read(&answer)) {
            Ok(refusal) if status >= 400 => format!("answered {refusal}"),
            Ok(_) => format!("answered {status} with something that is no event stream"),
            Err(trouble) => trouble.message,
        };
        return attempt.failed("headers", why);
    }
    attempt.passed("headers", begun.elapsed(), "");
    let mut events = Events {
        sent: &mut sent,
        decoder: Decoder::new(Limits::default()),
    };
    let open_since = Instant::now();
    match events.until("ready", open_since + READY_WITHIN).await {
        Ok(()) => attempt.passed("ready", open_since.elapsed(), ""),
        Err(why) => return attempt.failed("ready", why),
    }
    // While the first stream lives: a ticket that is good for two is good for anybody.
    attempt.checks.push(replay(probe, edge, ticket).await);
    let waited = events.until("heartbeat", open_since + heartbeat_within);
    match waited.await {
        Ok(()) => attempt.passed("first_heartbeat", open_since.elapsed(), ""),
        Err(why) => attempt.failed("first_heartbeat", why),
    }
}

async fn replay(probe: &Probe, edge: &Target, ticket: &Ticket) -> Check {
    let mut way = Way::default();
    let until = Instant::now() + ANSWER_WITHIN;
    let looked = async {
        let mut connection = open(edge, &probe.tls, until, &mut way).await?;
        let request = ticket.stream().within(ANSWER_WITHIN);
        let sent = connection.send(request, edge, until, &mut way).await?;
        if sent.status == 200 {
            return Ok(None);
        }
        let answer = sent.read(TICKET_BYTES_MAX, until).await?;
        Refusal::read(&answer).map(Some)
    };
    let (state, evidence) = match looked.await {
        Ok(None) => (
            State::Fail,
            "the same ticket opened a second stream".to_owned(),
        ),
        Ok(Some(refusal)) if refusal.status == 401 => {
            (State::Pass, format!("the second use is refused: {refusal}"))
        }
        Ok(Some(refusal)) => (
            State::Unknown,
            format!("the second use is answered {refusal}"),
        ),
        Err(trouble) => (State::Unknown, format!("the second use: {trouble}")),
    };
    Check {
        id: "replay",
        state,
        evidence,
    }
}

struct Events<'s, 'c> {
    sent: &'s mut Sent<'c>,
    decoder: Decoder,
}

impl Events<'_, '_> {
    /// Until this event; the error is in words.
    async fn until(&mut self, wanted: &str, until: Instant) -> Result<(), String> {
        let begun = Instant::now();
        let mut bytes = 0;
        let reading = async {
            while let Some(frame) = self.sent.body.frame().await {
                let frame = frame.map_err(|e| format!("the stream broke: {e}"))?;
                let Ok(data) = frame.into_data() else {
                    continue;
                };
                bytes += data.len();
                let mut rest = &data[..];
                let mut found = false;
                while let Some(item) = self
                    .decoder
                    .next(&mut rest)
                    .map_err(|e| format!("not an event stream: {e}"))?
                {
                    found |= matches!(item, Item::Event { event, .. } if event == wanted);
                }
                if found {
                    return Ok(());
                }
                if bytes > STREAM_BYTES_MAX {
                    return Err(format!("{STREAM_BYTES_MAX} bytes without a {wanted}"));
                }
            }
            Err(format!("the stream ended before its {wanted}"))
        };
        let read = timeout_at(until, reading).await;
        read.unwrap_or_else(|_| {
            let waited = begun.elapsed().as_secs_f64();
            Err(format!(
                "no {wanted} within {waited:.1} s, {bytes} bytes came"
            ))
        })
    }
}

fn is_stream(sent: &Sent<'_>) -> bool {
    let kind = sent.headers.get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

fn phase(trouble: &Trouble, sending: &'static str) -> &'static str {
    match trouble.phase {
        Phase::Dns => "dns",
        Phase::Connect => "connect",
        Phase::Tls => "tls",
        Phase::Http | Phase::Body => sending,
    }
}

/// Tickets and streams are never repeated by the edge, which waits 30 s at most.
const ANSWER_WITHIN: Duration = Duration::from_secs(16);
const READY_WITHIN: Duration = Duration::from_secs(10);
const TICKET_BYTES_MAX: usize = 64 * 1024;
const STREAM_BYTES_MAX: usize = 4 << 20;
