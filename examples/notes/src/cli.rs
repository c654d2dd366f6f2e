//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Notes that are safe on this device first and on the server as soon as it can be reached. Without a
/// command: the app.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = "\
Exit codes: 0 done (the server has it, or nothing had to be sent), 1 safe here and waiting for the
server, 2 usage or configuration, 3 could not be done, 4 in conflict: see `notes conflicts`,
5 refused by the server: see `notes parked`, 6 no such note, 7 the store cannot be opened.
Logs go to standard error, as RUST_LOG asks (for example RUST_LOG=evenkeel=debug).

Two devices against a service on this machine, each line in a terminal of its own:
  recovery-check stack --edge-port 8787
  notes --store a.db
  notes --store b.db

From a script:
  notes add 'buy milk' --json
  some-program | notes add -
  notes list --json | head -1"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) service: Service,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Which service, as whom, and where the notes are kept.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Service and store")]
pub(crate) struct Service {
    /// The service: https, or http on loopback. Without it, the reference service that
    /// `recovery-check stack --edge-port 8787` runs on this machine.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "EVENKEEL_EDGE",
        hide_env_values = true
    )]
    pub(crate) url: Option<String>,
    /// A file with the bearer token; read again when the service refuses it. Without this the token
    /// is taken from EVENKEEL_TOKEN.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Whose notes they are: a store belongs to one account for ever.
    #[arg(long, global = true, value_name = "NAME", default_value = "demo")]
    pub(crate) account: String,
    /// The file with the notes; made where there is none. What this device is called is kept in
    /// PATH.device beside it.
    #[arg(long, global = true, value_name = "PATH", default_value = "notes.db")]
    pub(crate) store: PathBuf,
    /// Write a JSON object on each line, errors included.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a new note, or one for each line of standard input.
    Add(Add),
    /// Print the notes, last written first. Asks nobody: `sync` first for the newest.
    List(List),
    /// Change parts of a note; the others stay as they are, here and on other devices.
    Edit(Edit),
    /// Delete notes.
    Rm(Rm),
    /// Print the notes that changed here and on the server.
    Conflicts,
    /// Decide a conflict.
    Resolve(Resolve),
    /// Print the writes that the server refused.
    Parked,
    /// Send a refused write once more.
    Retry(One),
    /// Forget a refused write: the note becomes the server's again.
    Discard(Id),
    /// Fetch what is new, send what waits, and print where things stand.
    Sync(Sync),
}

/// How long to wait for the server's word on a write.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Wait {
    /// How many seconds to wait for the server's verdict. What has none by then is safe here, and
    /// sent by the next `notes` that is online.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) wait: Duration,
    /// Do not talk to the server at all.
    #[arg(long, conflicts_with = "wait")]
    pub(crate) offline: bool,
}

/// What can be said of a note.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Parts {
    /// The title, at most 512 characters.
    #[arg(long, value_name = "TEXT")]
    pub(crate) title: Option<String>,
    /// The text, at most 100,000 characters.
    #[arg(long, value_name = "TEXT")]
    pub(crate) content: Option<String>,
    /// Pin it.
    #[arg(long)]
    pub(crate) pin: bool,
    /// Unpin it.
    #[arg(long, conflicts_with = "pin")]
    pub(crate) unpin: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
With --json the first line, {\"event\":\"written\",\"id\":…}, is printed when the note is durable on this
device: from then on no crash takes it back. The second, {\"event\":\"verdict\",…}, is the server's.

Examples:
  notes add 'buy milk' --title Shopping
  seq 100 | notes add - --json --offline")]
pub(crate) struct Add {
    /// The text; `-` makes a note of each line of standard input.
    #[arg(value_name = "TEXT")]
    pub(crate) content: String,
    /// The title.
    #[arg(long, value_name = "TEXT")]
    pub(crate) title: Option<String>,
    /// Pin it.
    #[arg(long)]
    pub(crate) pin: bool,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A line of --json has: id, version (0: not on the server yet), created_at_ms, updated_at_ms,
state (synced, waiting, conflict or parked), title, content, pinned.")]
pub(crate) struct List {
    /// How many at most; all of them without this.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:  notes edit 6f1c5a0e-8a3b-4c57-9d1e-0123456789ab --title Groceries"
)]
pub(crate) struct Edit {
    /// Which note.
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) parts: Parts,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Which notes.
    #[arg(required = true)]
    pub(crate) ids: Vec<String>,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  notes resolve ID --keep mine
  notes resolve ID --title 'Market groceries'    (the rest: what did not clash of both sides)")]
pub(crate) struct Resolve {
    /// Which note.
    pub(crate) id: String,
    /// Whose side replaces the other.
    #[arg(long, value_enum, conflicts_with_all = ["title", "content", "pin", "unpin"])]
    pub(crate) keep: Option<Side>,
    #[command(flatten)]
    pub(crate) parts: Parts,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

#[derive(Debug, Args)]
pub(crate) struct One {
    /// Which note.
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

#[derive(Debug, Args)]
pub(crate) struct Id {
    /// Which note.
    pub(crate) id: String,
}

#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 up to date and nothing waits, 1 not within --wait.")]
pub(crate) struct Sync {
    /// How many seconds it may take.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) wait: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Side {
    /// What was written here.
    Mine,
    /// What the server has.
    Theirs,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok();
    seconds
        .filter(|seconds| (0.0..=86_400.0).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "a number of seconds, at most 86400".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
