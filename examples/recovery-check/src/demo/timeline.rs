//! The demo's timeline: a line for everything that happens, and a live countdown on a terminal.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use evenkeel::{Lifecycle, Status, SyncClient};
use serde_json::{Value, json};
use tokio::task::AbortHandle;

use super::Client;
use super::criteria::Criterion;
use crate::cli::LineFormat;
use crate::output::{Colour, Output};
use crate::status_line::{StatusLine, clock, colour, elapsed_ms, seconds, wall_ms, words};

pub(crate) struct Timeline {
    format: LineFormat,
    output: Output,
    begun: Instant,
    deadline: tokio::time::Instant,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl Timeline {
    pub(crate) fn new(format: LineFormat, deadline: tokio::time::Instant) -> Self {
        Self {
            format,
            output: Output::new(),
            begun: Instant::now(),
            deadline,
            tasks: Mutex::default(),
        }
    }

    /// The windows that were shortened, so that nobody takes them for the real ones.
    pub(crate) fn windows(&self, windows: &[(&str, String)]) -> io::Result<()> {
        if self.format == LineFormat::Jsonl {
            let windows: serde_json::Map<String, Value> = windows
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone().into()))
                .collect();
            return self.event("windows", json!({ "windows": windows }));
        }
        let left = self.deadline.duration_since(tokio::time::Instant::now());
        self.output.line(&self.output.paint(
            Colour::Bold,
            "Four clients, one edge, one origin, all on this machine. Windows are shortened:",
        ))?;
        for (name, value) in windows {
            self.output.line(&format!("  {name}: {value}"))?;
        }
        let most = format!("At most {} from here.", seconds(left));
        self.output.line(&self.output.paint(Colour::Faint, &most))
    }

    pub(crate) fn note(&self, text: &str) -> io::Result<()> {
        match self.format {
            LineFormat::Jsonl => self.event("note", json!({ "text": text })),
            LineFormat::Text => {
                let text = self.output.paint(Colour::Bold, text);
                self.output.line(&format!("{}  {text}", clock(self.begun)))
            }
        }
    }

    pub(crate) fn fault(&self, name: &str, on: bool) -> io::Result<()> {
        match self.format {
            LineFormat::Jsonl => self.event("fault", json!({ "name": name, "on": on })),
            LineFormat::Text => {
                let (colour, word) = if on {
                    (Colour::Bad, "fault on")
                } else {
                    (Colour::Good, "fault off")
                };
                let text = self.output.paint(colour, &format!("{word}: {name}"));
                self.output.line(&format!("{}  {text}", clock(self.begun)))
            }
        }
    }

    pub(crate) fn criterion(&self, criterion: &Criterion) -> io::Result<()> {
        match self.format {
            LineFormat::Jsonl => self.event("criterion", serde_json::to_value(criterion)?),
            LineFormat::Text => {
                let mark = if criterion.pass {
                    self.output.paint(Colour::Good, "held  ")
                } else {
                    self.output.paint(Colour::Bad, "FAILED")
                };
                let text = format!("{mark}  {:<8} {}", criterion.id, criterion.evidence);
                self.output.line(&format!("{}  {text}", clock(self.begun)))
            }
        }
    }

    pub(crate) fn verdict(&self, recovered: bool) -> io::Result<()> {
        let verdict = if recovered {
            "recovered"
        } else {
            "not_recovered"
        };
        match self.format {
            LineFormat::Jsonl => self.event("verdict", json!({ "verdict": verdict })),
            LineFormat::Text => {
                let colour = if recovered { Colour::Good } else { Colour::Bad };
                let text = self.output.paint(colour, &verdict.replace('_', " "));
                self.output.line(&format!("{}  {text}", clock(self.begun)))
            }
        }
    }

    /// Prints each status of this client.
    pub(crate) fn follow(self: &Arc<Self>, client: &Client) {
        let (timeline, name) = (Arc::clone(self), client.name);
        let sync = client.sync.clone();
        let mut statuses = sync.status_changes();
        let task = tokio::spawn(async move {
            while let Some(status) = statuses.next().await {
                if status.lifecycle == Lifecycle::Stopped {
                    continue;
                }
                let sent = requests(&sync);
                if timeline.status(name, &status, sent).is_err() {
                    return;
                }
            }
        });
        self.keep(task.abort_handle());
    }

    /// Keeps a countdown for each client on the terminal's last line.
    pub(crate) fn show_live(self: &Arc<Self>, clients: &[Client]) {
        if !self.output.terminal || self.format == LineFormat::Jsonl {
            return;
        }
        let timeline = Arc::clone(self);
        let clients: Vec<_> = clients.iter().map(|c| (c.name, c.sync.clone())).collect();
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let mut parts = vec![(Colour::Faint, clock(timeline.begun))];
                parts.extend(clients.iter().map(|(name, sync)| live_part(name, sync)));
                if timeline.output.live(&parts).is_err() {
                    return;
                }
            }
        });
        self.keep(task.abort_handle());
    }

    pub(crate) fn end(&self) {
        if let Ok(mut tasks) = self.tasks.lock() {
            tasks.drain(..).for_each(|task| task.abort());
        }
    }

    fn status(&self, name: &str, status: &Status, sent: u64) -> io::Result<()> {
        match self.format {
            LineFormat::Jsonl => {
                let mut line = serde_json::to_value(StatusLine::new(status, self.begun))?;
                line["client"] = name.into();
                line["requests"] = sent.into();
                self.output.json(&line)
            }
            LineFormat::Text => {
                let words = words(status, &self.output);
                let clock = clock(self.begun);
                self.output
                    .line(&format!("{clock}    {name}  {words}  {sent} sent"))
            }
        }
    }

    fn event(&self, event: &str, fields: Value) -> io::Result<()> {
        let mut line = json!({
            "event": event,
            "at_ms": wall_ms(),
            "elapsed_ms": elapsed_ms(self.begun),
        });
        if let (Value::Object(line), Value::Object(fields)) = (&mut line, fields) {
            line.extend(fields);
        }
        self.output.json(&line)
    }

    fn keep(&self, task: AbortHandle) {
        if let Ok(mut tasks) = self.tasks.lock() {
            tasks.push(task);
        }
    }
}

fn live_part(name: &str, sync: &SyncClient) -> (Colour, String) {
    let status = sync.status();
    let wait = status
        .next_attempt_in()
        .map_or(String::new(), |wait| format!(" {}", seconds(wait)));
    let text = format!("{name} {}{wait} ({} sent)", status.state, requests(sync));
    (colour(status.state), text)
}

/// How many requests the client has sent.
fn requests(sync: &SyncClient) -> u64 {
    let lanes = sync.diagnostics().lanes;
    lanes.values().map(|lane| lane.started).sum()
}
