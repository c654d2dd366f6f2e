//! Our event stream decoder against its peers, on three workloads, in one process.

use std::time::{Duration, Instant};

use evenkeel_bench::{CONTENDERS, Seen};

fn main() {
    let workloads = [
        Workload {
            name: "200,000 small events in 16 KiB chunks",
            stream: small_events(200_000),
            chunk: 16 << 10,
            seen: 200_000,
        },
        Workload {
            name: "one event of 16 MiB in 4 KiB chunks",
            stream: one_event(16 << 20),
            chunk: 4 << 10,
            seen: 1,
        },
        Workload {
            name: "20,000 small events, one byte at a time",
            stream: small_events(20_000),
            chunk: 1,
            seen: 20_000,
        },
    ];
    for workload in &workloads {
        workload.run();
    }
}

struct Workload {
    name: &'static str,
    stream: &'static [u8],
    chunk: usize,
    seen: usize,
}

impl Workload {
    fn run(&self) {
        let mut best = [Duration::MAX; CONTENDERS.len()];
        let mut reference: Option<Seen> = None;
        for round in 0..ROUNDS {
            // Each round begins with another contender, so that none always runs on a warm cache.
            for turn in 0..CONTENDERS.len() {
                let at = (round + turn) % CONTENDERS.len();
                if round > 0 && best[at] > SLOW {
                    continue;
                }
                let began = Instant::now();
                let seen = CONTENDERS[at].1(self.stream, self.chunk);
                best[at] = best[at].min(began.elapsed());
                let name = CONTENDERS[at].0;
                assert_eq!(seen.events, self.seen, "{name}");
                assert_eq!(
                    *reference.get_or_insert(seen),
                    seen,
                    "{name} read something else"
                );
            }
        }
        let mib = self.stream.len() as f64 / f64::from(1 << 20);
        println!("\n**{}** ({mib:.1} MiB)\n", self.name);
        println!("| decoder | best time | MiB/s | time, ours = 1 |");
        println!("|---|--:|--:|--:|");
        for (at, (name, _)) in CONTENDERS.iter().enumerate() {
            let seconds = best[at].as_secs_f64();
            let ratio = seconds / best[0].as_secs_f64();
            println!(
                "| {name} | {:.2} ms | {:.1} | {ratio:.2} |",
                seconds * 1e3,
                mib / seconds
            );
        }
    }
}

/// What the service sends all day.
fn small_events(count: usize) -> &'static [u8] {
    let mut stream = String::new();
    for n in 0..count {
        let ts = 1_760_000_000_000_usize + n;
        stream.push_str(&format!(
            "event: sync\ndata: {{\"cursor\":{n},\"ts\":{ts}}}\n\n"
        ));
    }
    stream.leak().as_bytes()
}

fn one_event(bytes: usize) -> &'static [u8] {
    let data = "0123456789abcdef".repeat(bytes / 16);
    format!("data: {data}\n\n").leak().as_bytes()
}

const ROUNDS: usize = 31;

/// Who is slower than this runs once: once is enough to see it.
const SLOW: Duration = Duration::from_secs(3);
