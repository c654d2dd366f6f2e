//! Lets fleets of every policy live through the scenarios, and writes down what came of it.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use clap::Parser;
use evenkeel_sim::policies::{self, Policy};
use evenkeel_sim::report::{self, Run};
use evenkeel_sim::scenario::{self, Scenario};
use evenkeel_sim::world::Size;

/// A fleet of the real engines, and of its rivals, against a service with a limit, in virtual time.
///
/// Each run prints a line when it ends. The figures are explained in tests/sim/README.md.
#[derive(Parser)]
struct Arguments {
    /// How many clients; the service grows with them (20,000 requests a second for a million).
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(10..=10_000_000))]
    clients: u32,
    /// Requests a second that the origin serves, in place of the fleet's share.
    #[arg(long, value_name = "PER_SECOND")]
    capacity: Option<f64>,
    /// Only these scenarios, by name.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    scenario: Vec<String>,
    /// Only these policies, by name.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    policy: Vec<String>,
    /// The same seed gives the same run.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Runs at a time; each takes about 1.2 GB for a million clients.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: u8,
    /// Writes tables.md and a picture for each scenario into this folder.
    #[arg(long, value_name = "FOLDER")]
    write: Option<PathBuf>,
}

struct Cell {
    scenario: Scenario,
    policy: Policy,
    run: Option<Run>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let mut size = Size::of(arguments.clients);
    size.capacity_per_s = arguments.capacity.unwrap_or(size.capacity_per_s);
    let scenarios = chosen(&scenario::all(), &arguments.scenario, |scenario| {
        scenario.name
    })?;
    let policies = chosen(&policies::ALL, &arguments.policy, |policy| policy.name)?;
    let cells: Vec<Mutex<Cell>> = cells(&scenarios, &policies);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs {
            scope.spawn(|| {
                while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(cell, size, arguments.seed);
                }
            });
        }
    });
    match arguments.write {
        Some(folder) => write(&folder, &scenarios, cells),
        None => Ok(()),
    }
}

fn chosen<T: Clone>(
    all: &[T],
    names: &[String],
    name: fn(&T) -> &'static str,
) -> Result<Vec<T>, String> {
    if let Some(unknown) = names
        .iter()
        .find(|wanted| all.iter().all(|one| name(one) != **wanted))
    {
        let known: Vec<_> = all.iter().map(name).collect();
        return Err(format!("there is no {unknown}, but: {}", known.join(", ")));
    }
    let wanted = |one: &&T| names.is_empty() || names.iter().any(|wanted| wanted == name(one));
    Ok(all.iter().filter(wanted).cloned().collect())
}

/// Without the service's help for all, with it for those that listen.
fn cells(scenarios: &[Scenario], policies: &[Policy]) -> Vec<Mutex<Cell>> {
    let mut cells = Vec::new();
    for scenario in scenarios {
        for helps in [false, true] {
            for policy in policies.iter().filter(|policy| policy.listens || !helps) {
                cells.push(Mutex::new(Cell {
                    scenario: Scenario {
                        helps,
                        ..scenario.clone()
                    },
                    policy: *policy,
                    run: None,
                }));
            }
        }
    }
    cells
}

fn work(cell: &Mutex<Cell>, size: Size, seed: u64) {
    // Nobody else has this one.
    let Ok(mut cell) = cell.lock() else { return };
    let begun = Instant::now();
    let figures = (cell.policy.run)(&cell.scenario, size, seed);
    let help = if cell.scenario.helps { " + help" } else { "" };
    let name = format!("{}{help}", cell.policy.name);
    let [half, most, _] = figures.back_s;
    let fell = if figures.collapsed { ", fell over" } else { "" };
    println!(
        "{:<12} {name:<18} {:>4.1} requests to come back, peak {:>5.2}, 50 % after {half:?} s, 99 % after {most:?} s{fell}; took {:.1} s",
        cell.scenario.name,
        figures.sent_coming_back,
        figures.peak,
        begun.elapsed().as_secs_f64(),
    );
    cell.run = Some(Run { name, figures });
}

fn write(
    folder: &Path,
    scenarios: &[Scenario],
    cells: Vec<Mutex<Cell>>,
) -> Result<(), Box<dyn Error>> {
    let mut cells: Vec<Cell> = cells
        .into_iter()
        .filter_map(|cell| cell.into_inner().ok())
        .collect();
    let mut tables = String::new();
    for scenario in scenarios {
        let mut runs: Vec<Run> = cells
            .iter_mut()
            .filter(|cell| cell.scenario.name == scenario.name)
            .filter_map(|cell| cell.run.take())
            .collect();
        runs.sort_by_key(|run| !run.name.starts_with("evenkeel"));
        tables.push_str(&report::table(scenario, &runs));
        let path = folder.join(format!("{}.svg", scenario.name));
        report::picture(
            &path,
            &format!("{}: {}", scenario.name, scenario.what),
            &runs,
        )?;
    }
    std::fs::write(folder.join("tables.md"), tables)?;
    println!(
        "written: {}/tables.md and {} pictures",
        folder.display(),
        scenarios.len()
    );
    Ok(())
}
