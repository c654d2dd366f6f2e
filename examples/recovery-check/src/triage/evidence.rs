//! What triage has seen: gathered here, judged elsewhere.

use std::path::PathBuf;
use std::time::Duration;

use evenkeel_proto::wire::Cursor;
use evenkeel_proto::wire::path::HEALTH;
use tokio::time::{Instant, sleep};

use crate::probe::{
    Counted, Probe, Proxied, Readiness, RedisLog, Request, Trouble, Way, read_server_log,
};
use crate::status_line::wall_ms;

/// Everything that the four steps saw. `None`: it could not be asked, since nobody said where or as whom.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    pub(crate) ready: Option<Result<Readiness, Trouble>>,
    pub(crate) counters: Option<Result<Counters, Trouble>>,
    /// From here to the origin.
    pub(crate) origin: Option<(Result<u16, Trouble>, Way)>,
    /// Through the edge to the origin; the second after an open circuit was waited out.
    pub(crate) proxied: Vec<Result<Proxied, Trouble>>,
    pub(crate) edge_way: Way,
    pub(crate) with_token: bool,
    pub(crate) log: Option<Result<RedisLog, String>>,
    pub(crate) ready_took: Duration,
    pub(crate) took: Duration,
    pub(crate) now_ms: i64,
}

/// The edge's counters at two moments.
#[derive(Clone, Debug)]
pub(crate) struct Counters {
    pub(crate) before: Counted,
    pub(crate) after: Counted,
    pub(crate) apart: Duration,
}

impl Counters {
    pub(crate) fn restarted(&self) -> bool {
        self.after.restarted_since(&self.before)
    }

    /// By how much something has grown; after a restart all of it has.
    pub(crate) fn rise(&self, of: impl Fn(&Counted) -> u64) -> u64 {
        let (before, after) = (of(&self.before), of(&self.after));
        match self.restarted() {
            true => after,
            false => after.saturating_sub(before),
        }
    }
}

/// Runs the steps side by side; `note` hears of each as it ends.
pub(crate) async fn gather(
    probe: &Probe,
    log: Option<PathBuf>,
    sample: Duration,
    note: &impl Fn(String),
) -> Evidence {
    let begun = Instant::now();
    let log_step = async {
        let path = log?;
        let read = read_server_log(path).await;
        note(match &read {
            Ok(log) => format!("server log: {} lines", log.lines),
            Err(why) => format!("server log: {why}"),
        });
        Some(read)
    };
    let ready_step = async {
        let seen = probe.ready().await?.0;
        note(match &seen {
            Ok(ready) => ready.words(),
            Err(trouble) => format!("GET /ready: {trouble}"),
        });
        Some((seen, begun.elapsed()))
    };
    let origin_step = async {
        let seen = origin(probe).await?;
        note(match &seen.0 {
            Ok(_) => format!("origin from here: {}", seen.1.words()),
            Err(trouble) => format!("origin from here: {trouble}"),
        });
        Some(seen)
    };
    let edge_step = async {
        let seen = edge(probe, sample, note).await;
        note(match &seen.0 {
            None => "edge: not asked".to_owned(),
            Some(Ok(counters)) => {
                format!(
                    "edge counters: sampled {:.1} s apart",
                    counters.apart.as_secs_f64()
                )
            }
            Some(Err(trouble)) => format!("edge counters: {trouble}"),
        });
        seen
    };
    let (log, ready, origin, (counters, proxied, edge_way)) =
        tokio::join!(log_step, ready_step, origin_step, edge_step);
    let (ready, ready_took) = ready.unzip();
    Evidence {
        ready,
        ready_took: ready_took.unwrap_or_default(),
        counters,
        origin,
        proxied,
        edge_way,
        with_token: probe.token.is_some(),
        log,
        took: begun.elapsed(),
        now_ms: i64::try_from(wall_ms()).unwrap_or(i64::MAX),
    }
}

/// Any answer will do: what matters is the way.
async fn origin(probe: &Probe) -> Option<(Result<u16, Trouble>, Way)> {
    let origin = probe.origin.as_ref()?;
    let mut way = Way::default();
    let request = Request::get(HEALTH).within(ORIGIN_TIME_MAX);
    let answer = request
        .send(origin, &probe.tls, ORIGIN_BYTES_MAX, &mut way)
        .await;
    Some((answer.map(|answer| answer.status), way))
}

/// Counters, a call, counters again. While the circuit is open nobody can see what is behind it: it is
/// waited out once.
async fn edge(
    probe: &Probe,
    sample: Duration,
    note: &impl Fn(String),
) -> (
    Option<Result<Counters, Trouble>>,
    Vec<Result<Proxied, Trouble>>,
    Way,
) {
    let before = probe.metrics().await;
    let sampled = Instant::now();
    let mut proxied = Vec::new();
    let mut way = Way::default();
    while let Some((seen, its_way)) = probe.proxied(Cursor(0)).await {
        way = its_way;
        note(match &seen {
            Ok(seen) => seen.words(),
            Err(trouble) => format!("a pull through the edge: {trouble}"),
        });
        let wait = circuit_wait(&seen);
        proxied.push(seen);
        let Some(wait) = wait.filter(|_| proxied.len() == 1) else {
            break;
        };
        note(format!(
            "the circuit is open: looking again in {:.1} s, since nobody can see what is behind it",
            wait.as_secs_f64()
        ));
        sleep(wait).await;
    }
    let counters = match before {
        None => None,
        Some(Err(trouble)) => Some(Err(trouble)),
        Some(Ok(before)) => {
            sleep(sample.saturating_sub(sampled.elapsed())).await;
            let after = probe.metrics().await;
            after.map(|after| {
                after.map(|after| Counters {
                    before,
                    after,
                    apart: sampled.elapsed(),
                })
            })
        }
    };
    (counters, proxied, way)
}

/// How long until an open circuit lets something through, if that is worth waiting for.
fn circuit_wait(proxied: &Result<Proxied, Trouble>) -> Option<Duration> {
    let refusal = proxied.as_ref().ok()?.refusal()?;
    let wait = refusal.retry_after? + Duration::from_millis(200);
    (refusal.cause.as_deref() == Some("circuit_open") && wait <= CIRCUIT_WAIT_MAX).then_some(wait)
}

const ORIGIN_TIME_MAX: Duration = Duration::from_secs(8);
const ORIGIN_BYTES_MAX: usize = 64 * 1024;
/// The contract's window is 20 s.
const CIRCUIT_WAIT_MAX: Duration = Duration::from_secs(25);
