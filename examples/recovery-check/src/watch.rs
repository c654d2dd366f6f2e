//! `watch` and `status`: one client of the service, and what it says of itself.

use std::io;
use std::pin::pin;
use std::time::Instant;

use evenkeel::{Lifecycle, Status, SyncClient, SyncState};
use tokio::time::sleep;

use crate::cli::{self, LineFormat, OneFormat};
use crate::connect::connect;
use crate::exit::{Failed, Outcome};
use crate::output::Output;
use crate::stack::shutdown_signal;
use crate::status_line::{StatusLine, clock, words};

pub(crate) async fn watch(service: &cli::Service, args: cli::Watch) -> Result<Outcome, Failed> {
    let client = connect(service)?;
    let printer = Printer::new(args.format);
    let mut interrupted = pin!(shutdown_signal()?);
    let mut over = pin!(async {
        match args.span {
            Some(span) => sleep(span).await,
            None => std::future::pending().await,
        }
    });
    let mut statuses = client.status_changes();
    client
        .start()
        .map_err(|e| Failed::configuration(e.to_string()))?;
    loop {
        tokio::select! {
            biased;
            () = &mut interrupted => break,
            () = &mut over => break,
            status = statuses.next() => match status {
                // What it was before the start is nobody's news.
                Some(status) if status.lifecycle == Lifecycle::Stopped => {}
                Some(status) => printer.print(&status)?,
                None => break,
            },
        }
    }
    printer.print(&client.status())?;
    client.stop().await;
    Ok(Outcome::AsAsked)
}

pub(crate) async fn status(service: &cli::Service, args: cli::Status) -> Result<Outcome, Failed> {
    let client = connect(service)?;
    let begun = Instant::now();
    client
        .start()
        .map_err(|e| Failed::configuration(e.to_string()))?;
    let interrupted = shutdown_signal()?;
    let there = |status: &Status| match args.until {
        Some(wanted) => status.state == wanted,
        None => status.state != SyncState::Syncing,
    };
    let reached = tokio::select! {
        reached = reaches(&client, there) => reached,
        () = sleep(args.timeout) => false,
        () = interrupted => false,
    };
    let last = client.status();
    let output = Output::new();
    match args.format {
        OneFormat::Text => output.line(&words(&last, &output))?,
        OneFormat::Json => output.json(&StatusLine::new(&last, begun))?,
    }
    client.stop().await;
    if args.until.is_some() && !reached {
        return Ok(Outcome::NotReached);
    }
    Ok(Outcome::AsAsked)
}

async fn reaches(client: &SyncClient, there: impl Fn(&Status) -> bool) -> bool {
    let mut statuses = client.status_changes();
    while let Some(status) = statuses.next().await {
        if there(&status) {
            return true;
        }
    }
    false
}

struct Printer {
    format: LineFormat,
    begun: Instant,
    output: Output,
}

impl Printer {
    fn new(format: LineFormat) -> Self {
        Self {
            format,
            begun: Instant::now(),
            output: Output::new(),
        }
    }

    fn print(&self, status: &Status) -> io::Result<()> {
        match self.format {
            LineFormat::Jsonl => self.output.json(&StatusLine::new(status, self.begun)),
            LineFormat::Text => {
                let words = words(status, &self.output);
                self.output.line(&format!("{}  {words}", clock(self.begun)))
            }
        }
    }
}
