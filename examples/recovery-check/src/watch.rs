//! `watch` and `status`: one client of the service, and what it says of itself.

use std::io;
use std::pin::pin;
use std::time::Instant;

use evenkeel::{Lifecycle, Status, StatusChanges, SyncClient, SyncState};
use tokio::time::sleep;

use crate::cli::{self, LineFormat, OneFormat};
use crate::connect::{connect, connect_to};
use crate::exit::{Failed, Outcome};
use crate::live;
use crate::output::Output;
use crate::stack::shutdown_signal;
use crate::status_line::{StatusLine, clock, words};

pub(crate) async fn watch(service: &cli::Service, args: cli::Watch) -> Result<Outcome, Failed> {
    if args.tui {
        live::check_terminal()?;
    }
    let client = match (&args.store, &args.account) {
        (Some(store), Some(account)) => connect_to(service, store, account).await?,
        _ => connect(service)?,
    };
    if args.tui {
        return live::run(service, &args, client).await;
    }
    let printer = Printer::new(args.format);
    let mut interrupted = pin!(shutdown_signal()?);
    let mut over = pin!(async {
        match args.span {
            Some(span) => sleep(span).await,
            None => std::future::pending().await,
        }
    });
    let mut statuses = client.status_changes();
    start(&client)?;
    let told: io::Result<()> = async {
        // The status at the start comes first, however short the time to watch is.
        if let Some(status) = begun(&mut statuses).await {
            printer.print(&status)?;
        }
        loop {
            tokio::select! {
                biased;
                () = &mut interrupted => break,
                () = &mut over => break,
                status = statuses.next() => match status {
                    Some(status) => printer.print(&status)?,
                    None => break,
                },
            }
        }
        printer.print(&client.status())
    }
    .await;
    client.stop().await;
    told?;
    Ok(Outcome::AsAsked)
}

pub(crate) async fn status(service: &cli::Service, args: cli::Status) -> Result<Outcome, Failed> {
    let client = connect(service)?;
    let since = Instant::now();
    let interrupted = shutdown_signal()?;
    let mut statuses = client.status_changes();
    start(&client)?;
    let there = |status: &Status| match args.until {
        Some(wanted) => status.state == wanted,
        None => status.state != SyncState::Syncing,
    };
    let mut next = begun(&mut statuses).await;
    let reaches = async {
        while let Some(status) = next {
            if there(&status) {
                return Some(status);
            }
            next = statuses.next().await;
        }
        None
    };
    // What was reached is what is told, whatever came right after it.
    let reached = tokio::select! {
        biased;
        reached = reaches => reached,
        () = sleep(args.timeout) => None,
        () = interrupted => None,
    };
    let in_time = reached.is_some();
    let last = reached.unwrap_or_else(|| client.status());
    let output = Output::new();
    match args.format {
        OneFormat::Text => output.line(&words(&last, &output))?,
        OneFormat::Json => output.json(&StatusLine::new(&last, since))?,
    }
    client.stop().await;
    if args.until.is_some() && !in_time {
        return Ok(Outcome::NotReached);
    }
    Ok(Outcome::AsAsked)
}

fn start(client: &SyncClient) -> Result<(), Failed> {
    let started = client.start();
    started.map_err(|e| Failed::configuration(e.to_string()))
}

/// The first status of a client that runs: what it was before the start is nobody's news.
async fn begun(statuses: &mut StatusChanges) -> Option<Status> {
    loop {
        let status = statuses.next().await?;
        if status.lifecycle != Lifecycle::Stopped {
            return Some(status);
        }
    }
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
