//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use evenkeel::SyncState;

/// Look at a sync service in trouble the way its clients do, and say when it is over.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = "\
Exit codes: 0 as asked, 1 not reached or not recovered, 2 usage or configuration, 3 could not tell.
Logs go to standard error, as RUST_LOG asks (for example RUST_LOG=evenkeel=debug).

Start here:  recovery-check demo"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) service: Service,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which service, and as whom.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Service")]
pub(crate) struct Service {
    /// The edge, where clients go: https, or http on loopback.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "EVENKEEL_EDGE",
        hide_env_values = true
    )]
    pub(crate) edge: Option<String>,
    /// The origin, where /ready is; never asked through the edge.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "EVENKEEL_ORIGIN",
        hide_env_values = true
    )]
    pub(crate) origin: Option<String>,
    /// A file with the bearer token; read again when the service refuses it. Without this the token
    /// is taken from EVENKEEL_TOKEN.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Root certificates to trust beside the system's, in PEM: those of a service with an authority of
    /// its own.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "EVENKEEL_CA_FILE",
        hide_env_values = true
    )]
    pub(crate) ca_file: Option<PathBuf>,
    /// The device to appear as; without this, the one of --state-dir, or a new one.
    #[arg(long, global = true, value_name = "UUID")]
    pub(crate) device_id: Option<String>,
    /// Where to remember the device and how long the service asked to stay away.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// An outage and its recovery, on this machine, in under a minute. Needs nothing else.
    Demo(Demo),
    /// Connect as a client and print one status.
    Status(Status),
    /// Connect as a client and print a line for each change of its status.
    Watch(Watch),
    /// Look at every part of the service side by side, and name the most likely root.
    Triage(Triage),
    /// Wait until every exit criterion has held for a whole window, and say whether it is over.
    Verify(Verify),
    /// Take tickets and open streams with them, each step timed by itself.
    Handshake(Handshake),
    /// Watch a change of the edge's secret from outside, step by step.
    Drill(crate::drill::Drill),
    /// Write down what a client and its service say, for `report`.
    Record(Record),
    /// Make one HTML page of a recording.
    Report(Report),
    /// Run the reference service in the foreground.
    Stack(Stack),
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Exit codes: 0 when all three criteria held, 1 when not.

Example:  recovery-check demo --format jsonl | grep criterion")]
pub(crate) struct Demo {
    /// The longest it may take, at least 20; what has not recovered by then counts as not recovered.
    #[arg(long, value_name = "N", default_value_t = 58, value_parser = clap::value_parser!(u64).range(20..=3600))]
    pub(crate) seconds: u64,
    /// How to write the timeline.
    #[arg(long, value_enum, default_value_t = LineFormat::Text)]
    pub(crate) format: LineFormat,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
States: synced (proven: a live stream, nothing missing, nothing waiting), syncing (on the way there),
degraded (something fails: the cause says what, the layer whose fault it is).

Exit codes: 0 as asked, 1 when --until did not come, 2 usage or configuration.

Example:  recovery-check status --edge https://sync.example.com --until synced --timeout 2m")]
pub(crate) struct Status {
    /// Wait for this state (synced, syncing or degraded), and exit with 1 when it does not come in
    /// time.
    #[arg(long, value_name = "STATE", value_parser = state)]
    pub(crate) until: Option<SyncState>,
    /// How long to wait, such as 30s or 5m; without --until, for a state other than syncing.
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = span)]
    pub(crate) timeout: Duration,
    /// How to write the status.
    #[arg(long, value_enum, default_value_t = OneFormat::Text)]
    pub(crate) format: OneFormat,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
The first line is the status at the start, the last one the status at the end; SIGINT or SIGTERM ends
it in the same way.

With --tui it is a screen instead, with the origin's readiness (--origin), the edge's counters and a log of
what changed; q or Ctrl-C ends it. What cannot be seen is shown as unknown. Logs are shown only where standard
error goes elsewhere: 2>watch.log.

With --store it is one more process on an app's store: `pending` is what the app's users wrote and the
service has not, and it falls as that is sent, by the app or, where none runs, by this command.

Examples:
  recovery-check watch --edge https://sync.example.com --for 10m --format jsonl
  recovery-check watch --edge https://sync.example.com --store notes.db --account demo
  recovery-check watch --tui --edge http://127.0.0.1:8787 --origin http://127.0.0.1:3000")]
pub(crate) struct Watch {
    /// Watch over this app's store; without this, a client with a copy of its own in memory.
    #[arg(long, value_name = "PATH", requires = "account")]
    pub(crate) store: Option<PathBuf>,
    /// Whose store it is, as the app said when it made it.
    #[arg(long, value_name = "NAME", requires = "store")]
    pub(crate) account: Option<String>,
    /// How long to watch, such as 30s or 5m; without this, until interrupted.
    #[arg(long = "for", value_name = "SPAN", value_parser = span)]
    pub(crate) span: Option<Duration>,
    /// Live on this terminal, with the service's readiness and counters; NO_COLOR is honoured.
    #[arg(long, conflicts_with = "format")]
    pub(crate) tui: bool,
    /// With --tui, how often to look at /ready and the counters, from 100ms to 1h.
    #[arg(long, value_name = "SPAN", default_value = "2s", value_parser = interval, requires = "tui")]
    pub(crate) interval: Duration,
    /// How to write the lines. A line of `jsonl` has: event, at_ms, elapsed_ms, state, link, cause,
    /// layer, attempt, next_attempt_in_ms, cursor, pending, lifecycle.
    #[arg(long, value_enum, default_value_t = LineFormat::Text)]
    pub(crate) format: LineFormat,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Four steps, side by side: ready (the origin's /ready, asked directly: --origin), edge (its counters, sampled
twice), reachability (the origin from here, and through the edge with a pull), redis (from /ready, and from
--server-log). An open circuit is waited out once, at most 25 s: what is behind it shows only then.

The edge's counters are told only on the edge's own machine; from elsewhere they are unknown, never fine.
Without a token the call through the edge says less. No proxy is used.

JSON: {verdict: healthy|unhealthy|unknown, findings: [{id, severity: critical|warning|info, cause,
evidence[], explanation, next_steps[]}], steps: [{id, state: ok|failed|unknown, took_ms, summary[],
details}]}, the most likely root first.

Exit codes: 0 healthy, 1 something is wrong, 2 usage or configuration, 3 could not tell.

Example:  recovery-check triage --edge https://sync.example.com --origin http://10.0.0.5:3000 \\
            --server-log /var/log/sync.jsonl --format markdown > incident.md")]
pub(crate) struct Triage {
    /// The origin's log, JSON lines; its end is searched for trouble with Redis.
    #[arg(long, value_name = "FILE")]
    pub(crate) server_log: Option<PathBuf>,
    /// How far apart the edge's counters are sampled: what rises is trouble now, what stands is old.
    #[arg(long, value_name = "SPAN", default_value = "4s", value_parser = span)]
    pub(crate) sample: Duration,
    /// How to write the diagnosis.
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    pub(crate) format: ReportFormat,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Criteria: ready (the origin's /ready is 200 with every dependency healthy), circuit (its counters stand still,
it is closed, and pulls through the edge work), client (a client of this tool's own is synced or syncing over a
stream; polling never passes). They have to hold together for the whole window: one reject, one restart of the
edge or one lost stream begins it again. Then handshake (as the command of that name), and with
--write-probe write: a scratch record is created, seen by a second device and deleted again.

JSON: {verdict: recovered|not_recovered|unknown, criteria: [{id, state: pass|fail|unknown, since_ms (since
when, in Unix milliseconds), evidence}], samples (how many)}.

Exit codes: 0 recovered, 1 not recovered before the deadline, 2 usage or configuration, 3 nothing failed, but
something could not be told and was not allowed to be unknown.

Example:  recovery-check verify --edge https://sync.example.com --origin http://10.0.0.5:3000 \\
            --allow-unknown metrics --write-probe --format junit > recovery.xml")]
pub(crate) struct Verify {
    /// How long everything has to hold.
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = span)]
    pub(crate) window: Duration,
    /// How often to look.
    #[arg(long, value_name = "SPAN", default_value = "2s", value_parser = interval)]
    pub(crate) interval: Duration,
    /// How long to wait for a recovery at most.
    #[arg(long, value_name = "SPAN", default_value = "10m", value_parser = span)]
    pub(crate) deadline: Duration,
    /// What may be unknown, with commas between: the edge's counters where they are not told, /ready
    /// where it cannot be asked.
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    pub(crate) allow_unknown: Vec<Unknowable>,
    /// Dependencies that may be degraded while /ready is 200, with commas between.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) allow_degraded: Vec<Degradable>,
    /// Write a scratch record, and delete it.
    #[arg(long)]
    pub(crate) write_probe: bool,
    /// How long to wait for the first heartbeat; the service sends one every 20 s.
    #[arg(long, value_name = "SPAN", default_value = "50s", value_parser = span)]
    pub(crate) heartbeat_within: Duration,
    /// How to write the verdict; text shows the progress too.
    #[arg(long, value_enum, default_value_t = VerifyFormat::Text)]
    pub(crate) format: VerifyFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Unknowable {
    /// The edge's counters.
    Metrics,
    /// The origin's /ready.
    Ready,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Degradable {
    /// Redis.
    Redis,
    /// Announcements between processes.
    Realtime,
    /// The tickets' store.
    StreamTicket,
}

impl Degradable {
    pub(crate) const fn on_the_wire(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Realtime => "realtime",
            Self::StreamTicket => "streamTicket",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum VerifyFormat {
    /// For people, with progress.
    Text,
    /// A JSON object.
    Json,
    /// A test suite in XML, a test for each criterion.
    Junit,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Phases: dns, connect, tls, ticket (POST /api/v2/events/ticket), headers (GET /api/v2/events with it),
ready (the stream's first event), first_heartbeat. Then two checks: cookie (its attributes are as they
should be; not there where the ticket came in the body) and replay (the same ticket is refused the second
time). No proxy is used, so that each phase is what it says.

JSON: {verdict: ok|failed|unknown, attempts: [{phases: [{id, state: pass|fail|unknown, took_ms,
evidence}], checks: [{id, state, evidence}]}]}.

Exit codes: 0 all passed, 1 something failed, 2 usage or configuration, 3 nothing failed, but
something could not be told.

Example:  recovery-check handshake --edge https://sync.example.com --count 3 --format json")]
pub(crate) struct Handshake {
    /// How many times, one after the other.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) count: u32,
    /// How long to wait for the first heartbeat; the service sends one every 20 s.
    #[arg(long, value_name = "SPAN", default_value = "50s", value_parser = span)]
    pub(crate) heartbeat_within: Duration,
    /// How to write the result.
    #[arg(long, value_enum, default_value_t = OneFormat::Text)]
    pub(crate) format: OneFormat,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
A line is written for each change of a client's status and for each look at the origin's /ready (with
--origin) and the edge's counters (answered only to callers on the edge's own machine). What cannot be
seen is written down as unknown, with the reason. Nothing secret is written: no token, ticket, cookie or
content. A recording that was cut off in the middle is still one.

Exit codes: 0 recorded, 2 usage or configuration, 3 the file cannot be written any more.

Example:  recovery-check record --edge https://sync.example.com --origin https://origin.example.com \\
              --out night.jsonl
          recovery-check report night.jsonl --out night.html")]
pub(crate) struct Record {
    /// The file to write; one that exists is refused, unless --append is given.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Go on in a recording that exists: the report shows the time between as not recorded.
    #[arg(long)]
    pub(crate) append: bool,
    /// How long to record, such as 30m or 8h; without this, until interrupted.
    #[arg(long = "for", value_name = "SPAN", value_parser = span)]
    pub(crate) span: Option<Duration>,
    /// How often to look at /ready and the counters, from 100ms to 1h.
    #[arg(long, value_name = "SPAN", default_value = "2s", value_parser = interval)]
    pub(crate) interval: Duration,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
The page is one file: pictures inline, no scripts, nothing fetched from anywhere; for screens light and
dark, and for paper. Its verdict is over the last --window of the recording: recovered, not_recovered,
healthy (there was no trouble at all) or unknown, with what could not be seen.

Exit codes: 0 written, whatever the verdict is; 2 usage, or no recording; 3 could not write.

Example:  recovery-check report night.jsonl --out night.html")]
pub(crate) struct Report {
    /// What `record` wrote.
    #[arg(value_name = "RECORDING")]
    pub(crate) recording: PathBuf,
    /// The page to write; one that exists is replaced.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// For how long all must have been well at the end to count as recovered.
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = span)]
    pub(crate) window: Duration,
}

#[derive(Clone, Debug, Args)]
#[command(after_long_help = crate::stack::long_help())]
pub(crate) struct Stack {
    /// What runs in this process.
    #[arg(long, value_enum, default_value_t = StackRole::All)]
    pub(crate) role: StackRole,
    /// The edge's port; 0 lets the system choose.
    #[arg(long, value_name = "P", default_value_t = 0)]
    pub(crate) edge_port: u16,
    /// The address that the edge listens on. Anything but the loopback needs --tls-dir, and lets in
    /// whoever reaches it and knows a token: for tests with network namespaces and other machines.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(crate) listen: IpAddr,
    /// Have the edge speak https, with HTTP/2, under a private authority kept in this folder: clients
    /// trust its ca.pem. It is made where there is none, and used again where there is one.
    #[arg(long, value_name = "DIR")]
    pub(crate) tls_dir: Option<PathBuf>,
    /// A further name or address that the edge's certificate is for, beside localhost, 127.0.0.1 and
    /// ::1; may be repeated.
    #[arg(long, value_name = "NAME", requires = "tls_dir")]
    pub(crate) tls_name: Vec<String>,
    /// The origin's port; 0 lets the system choose.
    #[arg(long, value_name = "P", default_value_t = 0)]
    pub(crate) origin_port: u16,
    /// The AI provider's port; 0 lets the system choose.
    #[arg(long, value_name = "P", default_value_t = 0)]
    pub(crate) provider_port: u16,
    /// For an edge alone: where its origin is; may be repeated, and they are taken in turn. Without it,
    /// the edge has none configured.
    #[arg(long, value_name = "URL")]
    pub(crate) origin_url: Vec<String>,
    /// For an edge: where the AI provider is. Without it, an edge alone reaches none.
    #[arg(long, value_name = "URL")]
    pub(crate) provider_url: Option<String>,
    /// The control API's port (loopback only); 0 lets the system choose.
    #[arg(long, value_name = "P", default_value_t = 0)]
    pub(crate) control_port: u16,
    /// Keep the records in this folder; without it they live in memory.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// For an origin: keep the records in Postgres, postgres://user:password@host/database. Tables are
    /// made in a schema of their own; the way there is not encrypted.
    #[arg(
        long,
        value_name = "URL",
        env = "EVENKEEL_DATABASE",
        hide_env_values = true,
        conflicts_with = "data"
    )]
    pub(crate) database: Option<String>,
    /// For an origin: used tickets and announcements in Redis, redis://host:port, so that several origins
    /// are one service; all of them need the same --set ticket_secret=….
    #[arg(
        long,
        value_name = "URL",
        env = "EVENKEEL_REDIS",
        hide_env_values = true
    )]
    pub(crate) redis: Option<String>,
    /// Change a limit or window; may be repeated. --help lists them all.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StackRole {
    /// Edge, origin and AI provider.
    All,
    /// The edge alone.
    Edge,
    /// The origin alone.
    Origin,
    /// The AI provider's stand-in alone: completions in OpenAI's form.
    Provider,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LineFormat {
    /// For people.
    Text,
    /// A JSON object on each line.
    Jsonl,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OneFormat {
    /// For people.
    Text,
    /// A JSON object.
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people, with progress.
    Text,
    /// A JSON object.
    Json,
    /// For an incident's page.
    Markdown,
}

/// A year is for ever here, and can still be added to any time.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let span = humantime::parse_duration(text).map_err(|e| e.to_string())?;
    match span <= SPAN_MAX {
        true => Ok(span),
        false => Err("expected a span of at most 365 days".to_owned()),
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let span = span(text)?;
    if (Duration::from_millis(100)..=Duration::from_secs(3600)).contains(&span) {
        Ok(span)
    } else {
        Err("expected a span from 100ms to 1h".to_owned())
    }
}

fn state(text: &str) -> Result<SyncState, String> {
    SyncState::from_name(text).ok_or_else(|| {
        let names: Vec<_> = SyncState::ALL.iter().map(|state| state.as_str()).collect();
        format!("expected one of {}", names.join(", "))
    })
}

const SPAN_MAX: Duration = Duration::from_secs(365 * 86_400);

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn no_span_is_so_long_that_it_cannot_be_waited_for() {
        assert!(super::span("365days").is_ok());
        for long in ["366days", "500000000000y"] {
            assert!(super::span(long).is_err(), "{long}");
            assert!(super::interval(long).is_err(), "{long}");
        }
    }
}
