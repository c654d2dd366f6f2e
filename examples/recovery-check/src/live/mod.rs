//! `watch --tui`: a client and its service, live on a terminal. What is seen is put together as for a
//! report, so that both tell the same.

mod model;
#[cfg(test)]
mod tests;
mod view;

use std::io::{self, IsTerminal as _};
use std::pin::pin;
use std::time::{Duration, Instant};

use evenkeel::{Lifecycle, SyncClient};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers, read};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::cli;
use crate::connect::probe;
use crate::exit::{Failed, Outcome};
use crate::output::{colours_wanted, is_capable};
use crate::record::samples;
use crate::stack::shutdown_signal;
use model::{Client, Live};

/// Refuses where nobody could look or press a key.
pub(crate) fn check_terminal() -> Result<(), Failed> {
    if io::stdin().is_terminal() && is_capable(&io::stdout()) {
        return Ok(());
    }
    Err(Failed::configuration(
        "--tui needs a terminal that can move its cursor, for input and for output; without one use \
         `watch`, `watch --format jsonl` or `record`",
    ))
}

pub(crate) async fn run(
    service: &cli::Service,
    args: &cli::Watch,
    client: SyncClient,
) -> Result<Outcome, Failed> {
    let looks = samples(probe(service)?, args.interval, Instant::now());
    let live = Live::new(service, args.interval);
    let told = {
        let mut screen = Screen::take()?;
        follow(live, args.span, &client, looks, &mut screen.0).await
    };
    client.stop().await;
    told.map(|()| Outcome::AsAsked)
}

/// Until the user, the system or the time given ends it.
async fn follow(
    mut live: Live,
    span: Option<Duration>,
    client: &SyncClient,
    mut looks: mpsc::Receiver<crate::recording::Sample>,
    terminal: &mut DefaultTerminal,
) -> Result<(), Failed> {
    let mut interrupted = pin!(shutdown_signal()?);
    let mut hung_up = pin!(hung_up()?);
    let mut over = pin!(async {
        match span {
            Some(span) => sleep(span).await,
            None => std::future::pending().await,
        }
    });
    let mut keys = keys();
    let mut statuses = client.status_changes();
    let started = client.start();
    started.map_err(|e| Failed::configuration(e.to_string()))?;
    let colours = colours_wanted();
    loop {
        let status = client.status();
        let now = Client::of(&status);
        terminal.draw(|frame| view::draw(frame, &live, &now, colours))?;
        // A countdown moves by itself.
        let tick = match status.next_attempt_in() {
            Some(_) => Duration::from_millis(250),
            None => Duration::from_secs(60),
        };
        tokio::select! {
            biased;
            () = &mut interrupted => break,
            () = &mut hung_up => break,
            () = &mut over => break,
            event = keys.recv() => match event {
                // A new size is drawn at once.
                Some(event) => if quits(&event?) {
                    break;
                },
                None => break,
            },
            status = statuses.next() => match status {
                Some(status) if status.lifecycle == Lifecycle::Stopped => {}
                Some(status) => live.status(&status),
                None => break,
            },
            sample = looks.recv() => match sample {
                Some(sample) => live.sample(sample),
                // An old picture would look like a service that stands still.
                None => return Err(Failed::unknown("nobody looks at the service any more")),
            },
            () = sleep(tick) => {}
        }
    }
    Ok(())
}

fn quits(event: &Event) -> bool {
    let Event::Key(key) = event else {
        return false;
    };
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind != KeyEventKind::Release
        && match key.code {
            KeyCode::Char('q') | KeyCode::Esc => true,
            KeyCode::Char('c') => control,
            _ => false,
        }
}

/// The terminal, given back however this ends.
struct Screen(DefaultTerminal);

impl Screen {
    fn take() -> Result<Self, Failed> {
        ratatui::try_init().map(Self).map_err(|e| {
            // It may have been taken half.
            let _ = ratatui::try_restore();
            Failed::unknown(format!("cannot use this terminal: {e}"))
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that went away takes nothing back.
        let _ = ratatui::try_restore();
    }
}

/// Keys, read on a thread that ends with the process.
fn keys() -> mpsc::Receiver<io::Result<Event>> {
    let (sender, keys) = mpsc::channel(64);
    std::thread::spawn(move || {
        loop {
            let event = read();
            let over = event.is_err();
            if sender.blocking_send(event).is_err() || over {
                return;
            }
        }
    });
    keys
}

/// Ready when the terminal's other side has gone.
fn hung_up() -> Result<impl Future<Output = ()>, Failed> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let unable = |e| Failed::unknown(format!("cannot listen for signals: {e}"));
        let mut hang_up = signal(SignalKind::hangup()).map_err(unable)?;
        Ok(async move {
            let _ = hang_up.recv().await;
        })
    }
    #[cfg(not(unix))]
    Ok(std::future::pending())
}
