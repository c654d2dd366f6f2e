//! `recovery-check`: look at a sync service in trouble the way its clients do.

mod cli;
mod connect;
mod demo;
mod drill;
mod exit;
mod handshake;
mod live;
mod output;
mod probe;
mod record;
mod recording;
mod report;
mod stack;
mod status_line;
mod triage;
mod verify;
mod watch;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use cli::{Cli, Command};
use exit::{Failed, Outcome};

/// Who asks, in the service's logs.
pub(crate) const USER_AGENT: &str = concat!("recovery-check/", env!("CARGO_PKG_VERSION"));

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Standard output belongs to the answers; whatever is logged goes beside it.
    // On a screen of its own it would be written into the picture.
    let tui = matches!(&cli.command, Command::Watch(watch) if watch.tui);
    let filter = match tui && std::io::stderr().is_terminal() {
        true => EnvFilter::new("off"),
        false => EnvFilter::from_default_env(),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(output::is_capable(&std::io::stderr()) && output::colours_wanted())
        // With nobody at the other end of standard error there is nothing to be done about it.
        .log_internal_errors(false)
        .init();
    match run(cli) {
        Ok(outcome) => outcome.into(),
        Err(failed) => failed.report(),
    }
}

fn run(cli: Cli) -> Result<Outcome, Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| Failed::configuration(format!("cannot start the runtime: {e}")))?;
    let outcome = runtime.block_on(async {
        match cli.command {
            Command::Demo(args) => demo::run(args).await,
            Command::Status(args) => watch::status(&cli.service, args).await,
            Command::Watch(args) => watch::watch(&cli.service, args).await,
            Command::Triage(args) => triage::run(&cli.service, args).await,
            Command::Verify(args) => verify::run(&cli.service, args).await,
            Command::Handshake(args) => handshake::run(&cli.service, args).await,
            Command::Drill(args) => drill::run(&cli.service, args).await,
            Command::Record(args) => record::run(&cli.service, args).await,
            Command::Report(args) => report::run(args),
            Command::Stack(args) => stack::run(args).await,
        }
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    outcome
}
