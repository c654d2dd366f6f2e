//! `verify`: whether an outage is over, by the runbook's exit criteria, all of them, for a whole window.

mod client;
pub(crate) mod criteria;
#[cfg(test)]
mod criteria_tests;
mod report;
mod write;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use evenkeel_proto::wire::Cursor;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::cli::{self, VerifyFormat};
use crate::connect;
use crate::exit::{Failed, Outcome};
use crate::handshake::{self, State, mark};
use crate::output::{Colour, Output};
use crate::probe::Probe;
use crate::recording::Seen;
use crate::stack::shutdown_signal;
use crate::status_line::{SteadyClock, clock};
use client::Watched;
use criteria::{Allowed, Criteria, Criterion, Sample};
use report::{Report, Verdict};

pub(crate) async fn run(service: &cli::Service, args: cli::Verify) -> Result<Outcome, Failed> {
    let probe = connect::probe_as_user(service)?;
    let interrupted = shutdown_signal()?;
    let client = Watched::start(service)?;
    let mut verify = Verify::new(probe, client, args);
    let mut interrupted: Stop = Box::pin(interrupted);
    let outcome = verify.until_over(&mut interrupted).await;
    let report = verify.report(outcome.as_ref().is_ok_and(|done| *done));
    let told = outcome.and_then(|_| verify.tell(&report));
    verify.client.stop().await;
    told?;
    Ok(match report.verdict {
        Verdict::Recovered => Outcome::AsAsked,
        Verdict::NotRecovered => Outcome::NotReached,
        Verdict::Unknown => Outcome::Unknown,
    })
}

type Stop = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Verify {
    args: cli::Verify,
    probe: Probe,
    client: Watched,
    criteria: Criteria,
    handshake: Criterion,
    write: Option<Criterion>,
    output: Output,
    begun: std::time::Instant,
    clock: SteadyClock,
    deadline: Instant,
    samples: u64,
    /// When the next call through the edge may be made.
    next_proxied: Instant,
}

impl Verify {
    fn new(probe: Probe, client: Watched, args: cli::Verify) -> Self {
        let (now, clock) = (Instant::now(), SteadyClock::new());
        let at_ms = clock.now_ms();
        let allowed = Allowed {
            unknown_metrics: args.allow_unknown.contains(&cli::Unknowable::Metrics),
            unknown_ready: args.allow_unknown.contains(&cli::Unknowable::Ready),
            degraded: args
                .allow_degraded
                .iter()
                .map(|name| name.on_the_wire())
                .collect(),
        };
        Self {
            criteria: Criteria::new(allowed, at_ms),
            handshake: Criterion::new("handshake", at_ms),
            write: args.write_probe.then(|| Criterion::new("write", at_ms)),
            output: Output::new(),
            begun: std::time::Instant::now(),
            clock,
            deadline: now + args.deadline,
            samples: 0,
            next_proxied: now,
            args,
            probe,
            client,
        }
    }

    /// Whether everything has held, in the end.
    async fn until_over(&mut self, stop: &mut Stop) -> Result<bool, Failed> {
        loop {
            let next = Instant::now() + self.args.interval;
            let looked = tokio::select! {
                looked = timeout_at(self.deadline, self.sample()) => looked,
                () = &mut *stop => return Ok(false),
            };
            let Ok(sample) = looked else {
                return Ok(false);
            };
            self.observe(sample)?;
            let held = self.criteria.held(self.clock.now_ms());
            if held.is_some_and(|held| held >= self.args.window) {
                if self.final_checks(stop).await? {
                    return Ok(true);
                }
                // Not at once again: each attempt opens a stream or writes a record.
                self.criteria.begin_again(self.clock.now_ms());
            }
            tokio::select! {
                () = sleep_until(next.min(self.deadline)) => {}
                () = &mut *stop => return Ok(false),
            }
            if Instant::now() >= self.deadline {
                return Ok(false);
            }
        }
    }

    /// The handshake, the scratch record if asked for, and one look more.
    async fn final_checks(&mut self, stop: &mut Stop) -> Result<bool, Failed> {
        let shaking = handshake::attempt(&self.probe, self.args.heartbeat_within);
        let attempt = tokio::select! {
            attempt = timeout_at(self.deadline, shaking) => attempt,
            () = &mut *stop => return Ok(false),
        };
        let (state, words) = match &attempt {
            Ok(attempt) => (attempt.state(), attempt.words()),
            Err(_) => (State::Fail, "not done before the deadline".to_owned()),
        };
        self.set_handshake(state, words)?;
        if state == State::Fail {
            return Ok(false);
        }
        if self.write.is_some() {
            let deadline = self.deadline;
            let cut = async {
                tokio::select! {
                    () = sleep_until(deadline) => {}
                    () = &mut *stop => {}
                }
            };
            let (state, words) = match write::round_trip(&self.probe, cut).await {
                Ok(words) => (State::Pass, words),
                Err(words) => (State::Fail, words),
            };
            self.set_write(state, words)?;
            if state == State::Fail {
                return Ok(false);
            }
        }
        // What happened meanwhile is in the counters and in what the client said.
        self.next_proxied = Instant::now();
        let Ok(sample) = timeout_at(self.deadline, self.sample()).await else {
            return Ok(false);
        };
        self.observe(sample)?;
        Ok(self.criteria.held(self.clock.now_ms()).is_some())
    }

    async fn sample(&mut self) -> Sample {
        let now = Instant::now();
        let due = now >= self.next_proxied;
        let cursor = self.client.client.status().cursor.unwrap_or(Cursor(0));
        let proxied = async {
            match due {
                true => self.probe.proxied(cursor).await,
                false => None,
            }
        };
        let (ready, counted, proxied) =
            tokio::join!(self.probe.ready(), self.probe.metrics(), proxied);
        let proxied = proxied.map(|(proxied, _)| proxied);
        if let Some(proxied) = &proxied {
            // As a client would: not before the time that was named.
            let named = proxied.as_ref().ok().and_then(|p| p.refusal()?.retry_after);
            let wait = named.unwrap_or(PROXIED_EVERY.min(self.args.window / 3));
            self.next_proxied = now + wait.min(RETRY_AFTER_MAX);
        }
        Sample {
            ready: Seen::of(
                ready.map(|(ready, _)| ready),
                "not asked: give --origin URL or set EVENKEEL_ORIGIN",
            ),
            counted: Seen::of(counted, "not asked: nobody said where the edge is"),
            proxied,
            client: self.client.look(),
        }
    }

    fn observe(&mut self, sample: Sample) -> Result<(), Failed> {
        self.samples += 1;
        let before = self.criteria.all().map(Clone::clone);
        let at_ms = self.clock.now_ms();
        self.criteria.observe(at_ms, sample);
        if self.criteria.wants_proof() {
            self.next_proxied = Instant::now();
        }
        if self.args.format != VerifyFormat::Text {
            return Ok(());
        }
        for (before, now) in before.iter().zip(self.criteria.all()) {
            let news = before.state != now.state || now.state == State::Fail;
            if (news && before.evidence != now.evidence) || self.samples == 1 {
                self.say(now)?;
            }
        }
        let held = self.criteria.held(at_ms).unwrap_or_default();
        let words = format!(
            "held {:.0} s of {:.0} s",
            held.as_secs_f64(),
            self.args.window.as_secs_f64()
        );
        self.output
            .live(&[(Colour::Faint, clock(self.begun)), (Colour::Bold, words)])?;
        Ok(())
    }

    fn set_handshake(&mut self, state: State, words: String) -> Result<(), Failed> {
        self.handshake.set(self.clock.now_ms(), state, words);
        self.say(&self.handshake)
    }

    fn set_write(&mut self, state: State, words: String) -> Result<(), Failed> {
        if let Some(write) = &mut self.write {
            write.set(self.clock.now_ms(), state, words);
        }
        self.write.as_ref().map_or(Ok(()), |write| self.say(write))
    }

    fn say(&self, criterion: &Criterion) -> Result<(), Failed> {
        if self.args.format != VerifyFormat::Text {
            return Ok(());
        }
        self.output.line(&format!(
            "{}  {}  {:<9} {}",
            clock(self.begun),
            mark(&self.output, criterion.state),
            criterion.id,
            criterion.evidence
        ))?;
        Ok(())
    }

    fn report(&self, held: bool) -> Report {
        let [ready, circuit, client] = self.criteria.all().map(Clone::clone);
        let mut criteria = vec![ready, circuit, self.handshake.clone(), client];
        criteria.extend(self.write.clone());
        let handshake_known = self.handshake.state != State::Unknown;
        let verdict = match (held, self.criteria.is_known_enough() && handshake_known) {
            (true, true) => Verdict::Recovered,
            (true, false) => Verdict::Unknown,
            (false, _) => Verdict::NotRecovered,
        };
        let allowed = criteria.iter().map(|criterion| criterion.id);
        let allowed = allowed.filter(|id| self.criteria.allows(id)).collect();
        Report {
            verdict,
            criteria,
            samples: self.samples,
            took_s: self.begun.elapsed().as_secs_f64(),
            allowed,
        }
    }

    fn tell(&self, report: &Report) -> Result<(), Failed> {
        match self.args.format {
            VerifyFormat::Json => self.output.json(report)?,
            VerifyFormat::Junit => self.output.line(&report.junit())?,
            VerifyFormat::Text => {
                let colour = match report.verdict {
                    Verdict::Recovered => Colour::Good,
                    Verdict::NotRecovered => Colour::Bad,
                    Verdict::Unknown => Colour::Busy,
                };
                for criterion in &report.criteria {
                    let mark = mark(&self.output, criterion.state);
                    let text = format!("{mark}  {:<9} {}", criterion.id, criterion.evidence);
                    self.output.line(&text)?;
                }
                let samples = format!("{} samples", report.samples);
                let word = self.output.paint(colour, report.verdict.word());
                self.output.line(&format!("{word} ({samples})"))?;
            }
        }
        Ok(())
    }
}

/// A call through the edge is not for free.
const PROXIED_EVERY: Duration = Duration::from_secs(5);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
