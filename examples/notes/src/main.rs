//! `notes`: a terminal notes app that embeds the SDK, and a sample of how to.
//!
//! What an app does with Evenkeel is in `session.rs` (open a store, make a client), `write.rs` (write
//! and await the verdict), `commands.rs` (read, resolve) and `app.rs` (follow changes and statuses);
//! everything else is a terminal's business.

mod app;
mod cli;
mod commands;
mod exit;
mod note;
mod output;
mod session;
mod write;

use std::process::ExitCode;

use clap::Parser;

use cli::Cli;
use exit::{Code, Failed};
use output::Output;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(cli.service.json);
    log(cli.command.is_none());
    match run(cli, &output) {
        Ok(code) => code.into(),
        Err(failed) => failed.report(&output),
    }
}

fn run(cli: Cli, output: &Output) -> Result<Code, Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| Failed::broken(format!("cannot start the runtime: {e}")))?;
    let done = runtime.block_on(commands::run(cli, output));
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    done
}

/// Logs go to standard error as `RUST_LOG` asks, unless that is the screen that the app draws on.
fn log(interactive: bool) {
    use std::io::IsTerminal as _;
    if interactive && std::io::stderr().is_terminal() {
        return;
    }
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .log_internal_errors(false)
        .init();
}
