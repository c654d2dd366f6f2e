//! `sim [CLIENTS] [SCENARIO…]`: every policy in the scenarios.
#![allow(clippy::print_stdout)]

use evenkeel_sim::figures::Figures;
use evenkeel_sim::policies::*;
use evenkeel_sim::scenario::{self, Scenario};
use evenkeel_sim::world::{Size, run};
use std::time::Instant;

fn main() {
    let mut args = std::env::args().skip(1);
    let clients = args.next().and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let only: Vec<String> = args.collect();
    let kinds: [(&str, fn(&Scenario, Size, u64) -> Figures); 6] = [
        ("evenkeel", run::<Evenkeel>),
        ("web", run::<Rival<Web>>),
        ("half-jitter", run::<Rival<HalfJitter>>),
        ("full-jitter", run::<Rival<FullJitter>>),
        ("fixed", run::<Rival<Fixed>>),
        ("tokens", run::<Rival<Tokens>>),
    ];
    for mut scenario in scenario::all() {
        if only
            .iter()
            .any(|o| o.contains('-') || scenario::all().iter().any(|s| s.name == o))
            && !only.iter().any(|o| o == scenario.name)
        {
            continue;
        }
        for helps in [false, true] {
            if std::env::var("HELP").is_ok_and(|h| h != helps.to_string()) {
                continue;
            }
            scenario.helps = helps;
            for (name, run) in &kinds {
                if only.iter().any(|o| kinds.iter().any(|k| k.0 == o))
                    && !only.iter().any(|o| o == name)
                {
                    continue;
                }
                let t = Instant::now();
                let mut size = Size::of(clients);
                if clients <= 200 {
                    size.capacity_per_s = 2000.0;
                }
                let f = run(&scenario, size, 1);
                println!(
                    "{:12} {:5} {:11} sent/min {:5.1} first {:5.1} peak {:5.2} back {:>6.1?} slow {:>6.1?} calm {:>6.1?} {} reopen {:5.1} failed {:4.1}% age {:6.1}/{:6.1} lim {} [{:.1?}]",
                    scenario.name,
                    helps,
                    name,
                    f.sent_per_minute,
                    f.sent_first_minute,
                    f.peak,
                    f.back_s.map(|x| x.unwrap_or(-1.0)),
                    f.slowest_s.unwrap_or(-1.0),
                    f.calm_s.unwrap_or(-1.0),
                    if f.collapsed { "COLLAPSE" } else { "ok" },
                    f.reopened,
                    f.failed_percent,
                    f.age_mean_s,
                    f.age_most_s,
                    f.limited,
                    t.elapsed()
                );
                if std::env::var("SERIES").is_ok() {
                    for (n, c) in f.seconds.chunks(10).enumerate().take(70) {
                        let sum = |w: fn(&evenkeel_sim::figures::Second) -> u32| {
                            c.iter().map(|s| w(s)).sum::<u32>()
                        };
                        println!(
                            "{:4} s sent {:6} at_origin {:6} failed {:6} opened {:3} synced {:6}",
                            n * 10,
                            sum(|s| s.sent),
                            sum(|s| s.at_origin),
                            sum(|s| s.failed),
                            sum(|s| s.opened),
                            c.last().unwrap().synced
                        );
                    }
                }
            }
        }
    }
}
