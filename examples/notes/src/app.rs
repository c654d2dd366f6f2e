//! The app on a terminal: three sources of news (keys, the store, the client), one picture.

mod badge;
mod draft;
mod keys;
mod model;
#[cfg(test)]
mod tests;
mod view;

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use evenkeel::store::Query;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{DisableBracketedPaste, EnableBracketedPaste, Event, read};
use ratatui::crossterm::execute;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::cli::Service;
use crate::exit::{Code, Failed};
use crate::session;
use badge::Badge;
use model::App;

pub(crate) async fn run(service: &Service) -> Result<Code, Failed> {
    if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        return Err(Failed::usage(
            "the app needs a terminal; see `notes --help` for the commands",
        ));
    }
    let store = session::open(service).await?;
    let client = session::connect(service, &store)?;
    let signals = signals()?;
    client.start().map_err(|e| Failed::broken(e.to_string()))?;
    let app = App::new(store.clone(), client.clone());
    let told = {
        let mut screen = Screen::take()?;
        follow(app, &mut screen.0, signals).await
    };
    session::close(&store, Some(&client)).await;
    told.map(|()| Code::Done)
}

/// Until the user or the system ends it.
async fn follow(
    mut app: App,
    terminal: &mut DefaultTerminal,
    signals: impl Future<Output = ()>,
) -> Result<(), Failed> {
    let mut signals = std::pin::pin!(signals);
    let mut keys = keys();
    let mut statuses = app.client.status_changes();
    let mut changes = app.client.changes();
    // The newest notes, and so what other processes write to this store too.
    let mut newest = app.store.observe_list(Query::default());
    app.reload().await;
    while !app.quit {
        let badge = Badge::of(&app.client.status());
        terminal.draw(|frame| view::draw(frame, &app, &badge))?;
        // A countdown moves by itself.
        let tick = match badge.next {
            Some(_) => Duration::from_millis(250),
            None => Duration::from_secs(60),
        };
        tokio::select! {
            () = &mut signals => break,
            event = keys.recv() => match event {
                Some(event) => app.event(event?).await,
                None => break,
            },
            Some(_) = statuses.next() => app.reload().await,
            Some(_) = changes.next() => {
                // Many come at once; one look is enough for all of them.
                sleep(TOGETHER).await;
                while tokio::time::timeout(Duration::ZERO, changes.next()).await.is_ok_and(|c| c.is_some()) {}
                app.reload().await;
            },
            Some(_) = newest.next() => app.reload().await,
            () = sleep(tick) => {}
        }
    }
    Ok(())
}

/// The terminal, given back however this ends.
struct Screen(DefaultTerminal);

impl Screen {
    fn take() -> Result<Self, Failed> {
        let unable = |e| Failed::broken(format!("cannot use this terminal: {e}"));
        let screen = Self(ratatui::try_init().map_err(unable)?);
        execute!(io::stdout(), EnableBracketedPaste).map_err(unable)?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = execute!(io::stdout(), DisableBracketedPaste);
        ratatui::restore();
    }
}

/// Keys and pastes, read on a thread that ends with the process.
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

/// Ready when the process is asked to end.
fn signals() -> Result<impl Future<Output = ()>, Failed> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let unable = |e| Failed::broken(format!("cannot listen for signals: {e}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(unable)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(unable)?;
        let mut hang_up = signal(SignalKind::hangup()).map_err(unable)?;
        Ok(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hang_up.recv() => {}
            }
        })
    }
    #[cfg(not(unix))]
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}

/// Changes that come within this time are shown together.
const TOGETHER: Duration = Duration::from_millis(30);
