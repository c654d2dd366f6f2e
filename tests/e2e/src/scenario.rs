//! One fault, from a service that is well to one that is well again, and the line that tells of it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use evenkeel::{Cause, Link, SyncState};
use tokio::time::{Instant, sleep};

use crate::crew::{Crew, Way, check_history};
use crate::servers::{self, Postgres};
use crate::service::Service;

/// What a scenario expects.
#[derive(Clone, Debug)]
pub struct Expect {
    /// The fault, as the table names it.
    pub fault: &'static str,
    /// Every cause that a client may show.
    pub causes: &'static [Cause],
    /// Whether nobody can get anything through while it lasts.
    pub total: bool,
}

/// A fault that lasts, under write load.
#[derive(Debug)]
pub struct Scenario {
    expect: Expect,
    crew: Crew,
    begun: Instant,
    sent_before: Vec<u64>,
}

impl Scenario {
    /// A service with so many origins, and three clients and a process that write to it; `None` where this
    /// machine has no Postgres or Redis.
    pub async fn on_a_service(origins: usize, expect: Expect) -> Option<(Service, Self)> {
        if !servers::here() {
            return None;
        }
        let service = Service::start(origins, async |url| url.to_owned()).await;
        let crew = Crew::board(3, &Way::to(&service.url())).await;
        Some((service, Self::begin(expect, crew).await))
    }

    /// Lets everybody write until each client knows how often a stream gives a sign of life; the fault is
    /// made right after this returns.
    ///
    /// # Panics
    ///
    /// When they do not hear of it within a minute.
    pub async fn begin(expect: Expect, crew: Crew) -> Self {
        let end = Instant::now() + Duration::from_secs(60);
        for device in &crew.devices {
            while device.client.diagnostics().stream_events.heartbeat < 4 {
                assert!(Instant::now() < end, "no heartbeats");
                sleep(Duration::from_millis(50)).await;
            }
        }
        let sent_before = crew.devices.iter().map(|device| device.sent()).collect();
        Self {
            expect,
            crew,
            begun: Instant::now(),
            sent_before,
        }
    }

    /// The clients, for what a scenario does to them.
    pub fn crew(&mut self) -> &mut Crew {
        &mut self.crew
    }

    /// The fault has ended: from here on everybody has to come back, and in the end to have the same, with
    /// nothing lost or doubled. Writes the table's line where `EVENKEEL_WRITE` is set.
    ///
    /// # Panics
    ///
    /// When it is otherwise.
    pub async fn mended(mut self, server: &Postgres) {
        let fault = self.expect.fault;
        let ended = Instant::now();
        self.crew.hush().await;
        let devices = &self.crew.devices;
        let sent = devices.iter().zip(&self.sent_before);
        let sent: Vec<u64> = sent
            .map(|(device, before)| device.sent() - before)
            .collect();
        let mut earliest: Vec<Duration> = devices
            .iter()
            .map(|device| device.client.status().next_attempt_in().unwrap_or_default())
            .collect();
        let took = self.crew.recover().await;
        let mut degraded = Vec::new();
        let mut shown = BTreeSet::new();
        let mut stranded = 0;
        for (device, earliest) in devices.iter().zip(&mut earliest) {
            let pages = device.pages();
            let waits = check_history(fault, &pages, self.expect.causes);
            stranded += u32::from(waits);
            assert!(stranded <= 1, "{fault}: a second stranded request");
            // The edge's circuit may be open for a moment yet, or a request be stranded; then the attempt after
            // that is the earliest.
            let soon = pages.iter().filter(|page| {
                let overdue = waits && page.status.cause == Some(Cause::ResponseTimeout);
                page.at >= ended && (page.at < ended + CIRCUIT_OPEN || overdue)
            });
            for page in soon {
                if let Some(left) = page.next_attempt_in {
                    *earliest = (*earliest).max(page.at + left - ended);
                }
            }
            let during = pages.iter().filter(|page| page.at >= self.begun);
            let mut during = during
                .filter(|p| p.status.state == SyncState::Degraded)
                .peekable();
            if let Some(page) = during.peek() {
                degraded.push(page.at - self.begun);
            }
            for page in during {
                let cause = page.status.cause.map_or("", |cause| cause.as_str());
                let polling = if page.status.link == Link::Polling {
                    " (polling)"
                } else {
                    ""
                };
                shown.insert(format!("{cause}{polling}"));
            }
            let (minute, allowed) = device.sent_in_a_minute();
            assert!(minute <= allowed, "{fault}: {minute} requests in a minute");
            if self.expect.total {
                let settled = self.begun + SEEN_WITHIN;
                let fine = pages.iter().find(|page| {
                    (settled..ended).contains(&page.at) && page.status.state == SyncState::Synced
                });
                assert!(
                    fine.is_none(),
                    "{fault}: synced in the middle of it: {fine:?}"
                );
            }
        }
        if self.expect.total {
            let all = degraded.len() == devices.len();
            assert!(
                all,
                "{fault}: only {} of the clients noticed",
                degraded.len()
            );
        }
        let late = took
            .iter()
            .zip(&earliest)
            .map(|(t, e)| t.saturating_sub(*e));
        let late = late.max().unwrap_or_default();
        assert!(
            late < LATE_MAX,
            "{fault}: back {took:?}, earliest {earliest:?}"
        );
        let lasted = ended - self.begun;
        let minutes = lasted.as_secs_f64() / 60.0;
        let most = sent.iter().copied().max().unwrap_or(0);
        if self.expect.total {
            let budget = BURST + (STEADY_A_MINUTE * minutes).ceil() as u64;
            assert!(most <= budget, "{fault}: {most} requests in {lasted:?}");
        }
        let audit = self.crew.settle(server).await;
        assert_eq!(audit.lost, Vec::<String>::new(), "{fault}: lost");
        assert_eq!(
            audit.doubled,
            Vec::<String>::new(),
            "{fault}: applied twice"
        );
        assert!(audit.accepted > 20, "{fault}: hardly anything was written");
        let shown: Vec<String> = shown.into_iter().collect();
        let worst = |spans: &[Duration]| spans.iter().max().copied();
        let mut line = String::new();
        // Writing to a string cannot fail.
        let _ = write!(
            line,
            "| {fault} | {:.0} s | {} | {} | {} | {} | {most} | {} / {} / {} |",
            lasted.as_secs_f64(),
            if shown.is_empty() {
                "nothing".to_owned()
            } else {
                shown.join(", ")
            },
            seconds(worst(&degraded)),
            seconds(worst(&took)),
            seconds(worst(&earliest)),
            audit.accepted,
            audit.lost.len(),
            audit.doubled.len(),
        );
        crate::say(&line);
        if std::env::var_os("EVENKEEL_WRITE").is_some() {
            put_line(fault, &line);
        }
    }
}

fn seconds(span: Option<Duration>) -> String {
    span.map_or_else(
        || "–".to_owned(),
        |span| format!("{:.1} s", span.as_secs_f64()),
    )
}

/// Puts a line of the table in the place of the one of the same fault.
fn put_line(fault: &str, line: &str) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let (before, rest) = text.split_once(TABLE).unwrap_or((&text, ""));
    let (table, after) = rest.split_once("\n\n").unwrap_or((rest, ""));
    let own = format!("| {fault} |");
    let mut lines: Vec<&str> = table.lines().filter(|l| !l.starts_with(&own)).collect();
    lines.push(line);
    let (head, body) = lines.split_at(2.min(lines.len()));
    let mut body = body.to_vec();
    body.sort_unstable();
    let table = [head, &body].concat().join("\n");
    let text = format!("{before}{TABLE}{table}\n\n{after}");
    if let Err(error) = std::fs::write(&path, text) {
        panic!("{}: {error}", path.display());
    }
}

const TABLE: &str = "<!-- faults: written by the tests -->\n";
/// The longest until a client has seen that something is wrong: a silent stream and a request that waits.
const SEEN_WITHIN: Duration = Duration::from_secs(8);
/// The circuit's window in these scenarios, and a second for the origin to find its servers again.
const CIRCUIT_OPEN: Duration = Duration::from_secs(4);
/// After the announced attempt: the probe, the stream, and what has piled up.
const LATE_MAX: Duration = Duration::from_secs(25);
/// The retry budget: what it holds, two for what is under way, and what comes back in a minute.
const BURST: u64 = 12;
const STEADY_A_MINUTE: f64 = 4.0;
