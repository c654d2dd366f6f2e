//! Why neither `reqwest-eventsource` nor `backoff` is in the SDK: each reason, reproduced here.
//! Ends with 1 if one of them no longer holds, for then the decision has to be looked at again.

use std::cell::Cell;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use backoff::backoff::Backoff;
use backoff::{Clock, ExponentialBackoff, exponential};
use evenkeel_bench::{eventsource_stream, ours};
use evenkeel_proto::sse::{Decoder, Limits};
use eventsource_stream::Eventsource;
use futures_util::{FutureExt, StreamExt, stream};
use reqwest_eventsource::{Event, EventSource};

fn main() -> ExitCode {
    let facts = [
        byte_order_mark(),
        quadratic(),
        unbounded(),
        reconnect_storm(),
        spent_ticket(),
        retry_after(),
        older_reqwest(),
        gives_up(),
        no_seed(),
        unmaintained(),
    ];
    println!("| peer | reason | measured | holds |");
    println!("|---|---|---|---|");
    for Fact {
        peer,
        reason,
        measured,
        holds,
    } in &facts
    {
        println!(
            "| {peer} | {reason} | {measured} | {} |",
            if *holds { "yes" } else { "**no**" }
        );
    }
    ExitCode::from(u8::from(!facts.iter().all(|fact| fact.holds)))
}

struct Fact {
    peer: &'static str,
    reason: &'static str,
    measured: String,
    holds: bool,
}

fn byte_order_mark() -> Fact {
    let stream = "\u{feff}data: x\n\n".as_bytes();
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        eventsource_stream(stream, stream.len())
    }));
    let _ = std::panic::take_hook();
    Fact {
        peer: STREAM,
        reason: "panics on a byte order mark",
        measured: match &outcome {
            Ok(seen) => format!("{} event; ours {}", seen.events, ours(stream, 64).events),
            Err(_) => format!("panic; ours reads {} event", ours(stream, 64).events),
        },
        holds: outcome.is_err(),
    }
}

fn quadratic() -> Fact {
    let mut measured = String::new();
    let mut times = Vec::new();
    for mib in [1, 2, 4, 8] {
        let stream: &'static [u8] = format!("data: {}\n\n", "x".repeat(mib << 20))
            .leak()
            .as_bytes();
        let began = Instant::now();
        eventsource_stream(stream, 4 << 10);
        times.push(began.elapsed().as_secs_f64());
        let _ = write!(
            measured,
            "{mib} MiB {:.2} s, ",
            began.elapsed().as_secs_f64()
        );
        let began = Instant::now();
        ours(stream, 4 << 10);
        if mib == 8 {
            let _ = write!(measured, "ours {:.4} s", began.elapsed().as_secs_f64());
        }
    }
    Fact {
        peer: STREAM,
        reason: "one large event in 4 KiB chunks costs the square of its length",
        measured,
        // Eight times the length: linear would be about 8, quadratic is about 64.
        holds: times[3] / times[0] > 30.0,
    }
}

fn unbounded() -> Fact {
    let before = resident_mib();
    let chunks = (0..32).map(|_| Ok::<_, Infallible>(vec![b'x'; 1 << 20]));
    let mut events = Box::pin(stream::iter(chunks).chain(stream::pending()).eventsource());
    let waits = events.next().now_or_never().is_none();
    let grown = resident_mib()
        .zip(before)
        .map(|(after, before)| after.saturating_sub(before));

    let mut decoder = Decoder::new(Limits::default());
    let chunk = vec![b'x'; 1 << 20];
    let refused = (1..=32).find(|_| decoder.next(&mut &chunk[..]).is_err());
    Fact {
        peer: STREAM,
        reason: "keeps a line without an end for ever",
        measured: format!(
            "32 MiB taken, {}; ours refuses in MiB {}",
            grown.map_or("memory unknown".to_owned(), |mib| format!(
                "{mib} MiB more resident"
            )),
            refused.map_or("never".to_owned(), |mib| mib.to_string()),
        ),
        holds: waits,
    }
}

fn reconnect_storm() -> Fact {
    let server = Server::start(|_, _| (200, "", "retry: 0\ndata: x\n\n"));
    let log = listen(&server.url, Duration::from_secs(2));
    let connections = server.connections();
    Fact {
        peer: CLIENT,
        reason: "`retry: 0` makes it reconnect without a pause",
        measured: format!("{connections} connections in 2 s"),
        holds: connections > 200 && log.open > 200,
    }
}

fn spent_ticket() -> Fact {
    let server = Server::start(|n, request| {
        let ticket = request.contains("ticket=once");
        match (n, ticket) {
            (0, true) => (200, "", "data: x\n\n"),
            _ => (401, "", ""),
        }
    });
    let log = listen(
        &format!("{}?ticket=once", server.url),
        Duration::from_secs(3),
    );
    let connections = server.connections();
    Fact {
        peer: CLIENT,
        reason: "comes back with the ticket that is spent, and there is no place to put another",
        measured: format!(
            "{connections} connections with one ticket, answered 200 and 401; then {}",
            if log.ended {
                "it ended for good"
            } else {
                "it went on"
            }
        ),
        holds: connections > 1,
    }
}

fn retry_after() -> Fact {
    let server = Server::start(|n, _| match n {
        0 => (503, "retry-after: 1\r\n", ""),
        _ => (200, "", "data: x\n\n"),
    });
    let log = listen(&server.url, Duration::from_secs(4));
    let connections = server.connections();
    Fact {
        peer: CLIENT,
        reason: "ignores Retry-After",
        measured: format!(
            "503 with `Retry-After: 1`: {} further connections in 4 s{}",
            connections - 1,
            if log.ended { ", it ended for good" } else { "" }
        ),
        // The service is well again after one second: a client that reads the header is back.
        holds: log.open == 0,
    }
}

fn older_reqwest() -> Fact {
    let lock = include_str!("../../Cargo.lock");
    let mut packages = lock.split("[[package]]");
    let reqwest = packages.find(|package| package.contains("name = \"reqwest\"\n"));
    let version =
        reqwest.and_then(|package| package.split("version = \"").nth(1)?.split('"').next());
    let version = version.unwrap_or("none");
    Fact {
        peer: CLIENT,
        reason: "pins an older reqwest",
        measured: format!("reqwest {version} in this lockfile; the SDK has 0.13"),
        holds: version.starts_with("0.12."),
    }
}

fn gives_up() -> Fact {
    let clock = Rc::new(Cell::new(Instant::now()));
    let mut policy = virtual_default(&clock);
    let began = clock.get();
    let mut attempts = 0;
    while attempts < 10_000
        && let Some(wait) = policy.next_backoff()
    {
        attempts += 1;
        clock.set(clock.get() + wait);
    }
    let minutes = clock.get().duration_since(began).as_secs_f64() / 60.0;
    Fact {
        peer: BACKOFF,
        reason: "stops for good after 15 minutes by default",
        measured: format!("in virtual time: {attempts} attempts, the last after {minutes:.1} min"),
        holds: attempts < 10_000 && minutes <= 15.0,
    }
}

fn no_seed() -> Fact {
    let draw = || {
        let mut policy = ExponentialBackoff::default();
        let waits: Vec<_> = (0..8).filter_map(|_| policy.next_backoff()).collect();
        waits
    };
    Fact {
        peer: BACKOFF,
        reason: "draws from a generator that cannot be seeded, so no run can be replayed",
        measured: "two equal policies, two different sequences".to_owned(),
        holds: draw() != draw(),
    }
}

fn unmaintained() -> Fact {
    let lock = include_str!("../../Cargo.lock");
    Fact {
        peer: BACKOFF,
        reason: "unmaintained (RUSTSEC-2025-0012), and so is `instant` below it (RUSTSEC-2024-0384)",
        measured: "both in this lockfile".to_owned(),
        holds: ["backoff", "instant"]
            .iter()
            .all(|name| lock.contains(&format!("name = \"{name}\"\n"))),
    }
}

/// What a `reqwest-eventsource` client went through.
#[derive(Default)]
struct Log {
    open: usize,
    ended: bool,
}

fn listen(url: &str, span: Duration) -> Log {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut log = Log::default();
        let mut events = EventSource::get(url);
        let _ = tokio::time::timeout(span, async {
            while let Some(event) = events.next().await {
                log.open += usize::from(matches!(event, Ok(Event::Open)));
            }
            log.ended = true;
        })
        .await;
        log
    })
}

/// A loopback server of one answer per connection; lives as long as the process.
struct Server {
    url: String,
    connections: Arc<AtomicUsize>,
}

/// Status, further header lines, body.
type Answer = (u16, &'static str, &'static str);

impl Server {
    fn start(answer: fn(usize, &str) -> Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let url = format!(
            "http://{}/events",
            listener.local_addr().expect("an address")
        );
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = connections.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let Ok(mut socket) = socket else { continue };
                let n = counter.fetch_add(1, Ordering::SeqCst);
                let lines = BufReader::new(&socket).lines().map_while(Result::ok);
                let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
                let (status, headers, body) = answer(n, &head.join("\n"));
                let _ = write!(
                    socket,
                    "HTTP/1.1 {status} x\r\ncontent-type: text/event-stream\r\n\
                     connection: close\r\n{headers}\r\n{body}"
                );
            }
        });
        Self { url, connections }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

struct Virtual(Rc<Cell<Instant>>);

impl Clock for Virtual {
    fn now(&self) -> Instant {
        self.0.get()
    }
}

/// The crate's own defaults on a clock that we move.
fn virtual_default(clock: &Rc<Cell<Instant>>) -> exponential::ExponentialBackoff<Virtual> {
    let own = ExponentialBackoff::default();
    exponential::ExponentialBackoff {
        current_interval: own.current_interval,
        initial_interval: own.initial_interval,
        randomization_factor: own.randomization_factor,
        multiplier: own.multiplier,
        max_interval: own.max_interval,
        max_elapsed_time: own.max_elapsed_time,
        clock: Virtual(clock.clone()),
        start_time: clock.get(),
    }
}

fn resident_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

const STREAM: &str = "eventsource-stream 0.2.3";
const CLIENT: &str = "reqwest-eventsource 0.6";
const BACKOFF: &str = "backoff 0.4";
