//! `drill rotation`: the monthly change of the edge's encryption secret, watched from outside.
//!
//! The operator changes the secret; the drill says when, and looks at what becomes of sessions that were
//! opened before. It never runs a command of the operator's.

mod begin;
mod check;
mod counters;
mod finish;
mod judge;
mod report;
mod sessions;
mod state;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use evenkeel::wire::AiProvider;

use crate::cli::{OneFormat, Service};
use crate::exit::{Failed, Outcome};

#[derive(Clone, Debug, Args)]
pub(crate) struct Drill {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// The monthly change of the secret under which the edge keeps the keys of AI sessions.
    Rotation(Rotation),
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
The drill, on the edge's own machine (its counters are told nowhere else):
  1. begin   opens AI sessions, notes the counters, and prints the operator's commands
  2. you     run them: the overlap, the new secret, the deploy
  3. check   uses the sessions: all work, each moved to the new secret, none needs the old one a second time;
             may be repeated
  4. finish  says whether the overlap may go, or how long to wait

JSON: {verdict: passed|failed|unknown, criteria: [{id, state: pass|fail|unknown, evidence}], commands[],
next_steps[], wait_until_ms (finish: when to come back, in Unix milliseconds)}.

Exit codes: 0 passed, 1 failed (or not yet), 2 usage or configuration, 3 could not tell: a rotation that could
not be seen is never called good.

Example:  EVENKEEL_AI_KEY=… recovery-check drill rotation begin --state november.json")]
struct Rotation {
    #[command(subcommand)]
    step: Step,
}

#[derive(Clone, Debug, Subcommand)]
enum Step {
    /// Open sessions under the present secret, and print the commands that change it.
    Begin(Begin),
    /// Use the sessions after the change, and say whether they moved.
    Check(Check),
    /// Say whether the overlap may end.
    Finish(Finish),
}

/// What all three steps take.
#[derive(Clone, Debug, Args)]
struct Common {
    /// Where the drill keeps what it needs between its steps. Readable by you alone: it holds the cookies of
    /// sessions. Delete it when the drill is over.
    #[arg(long = "state", value_name = "FILE")]
    file: PathBuf,
    /// How to write the result.
    #[arg(long, value_enum, default_value_t = OneFormat::Text)]
    format: OneFormat,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Opens sessions of devices (one for a check, two in reserve for checks that cannot see), and with a token
(EVENKEEL_TOKEN or --token-file) one of that account; an account that has a session already keeps it, and the
drill uses that. Each is tried with a real call to the provider: the status alone opens no key.

The provider's key comes from EVENKEEL_AI_KEY or --key-file, never from an argument, and is not kept; without
one the answer is unknown. Take one that is made for this and can be revoked. What does not work is closed again.

Example:  EVENKEEL_AI_KEY=… recovery-check drill rotation begin --state november.json --provider openrouter")]
struct Begin {
    #[command(flatten)]
    common: Common,
    /// Whose key it is.
    #[arg(long, value_enum, default_value_t = Provider::Gemini)]
    provider: Provider,
    /// A file with the provider's key and nothing else; - is standard input.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Begin anew although FILE holds a drill; what that one opened is closed first.
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Samples the edge's counters just before and just after each of its own calls, since a deploy sets them to zero.
Other people's calls are in the same counters: where they cannot be told from the drill's, the answer is unknown.
After an unknown check a session from the reserve shows the next one what this one could not see.

Criteria: counters (told, of the instance that serves the calls, not reset meanwhile), sessions (each works,
twice), reencrypted (reencryptSuccesses rose by at least as many as were still under the old secret), decrypt
(decryptFailures stood still), second_access (fallbackDecrypts stood still).

Example:  recovery-check drill rotation check --state november.json")]
struct Check {
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Criteria: checked (the last check passed), lifetime (every device session from before the change has ended),
fallback (fallbackDecrypts stands still), account_keys (they have no lifetime: one that nobody used since is
under the old secret still and cannot be seen, so this is unknown unless --allow-unknown accounts).

With all passed it prints the command that ends the overlap, and closes the sessions it opened.

Example:  recovery-check drill rotation finish --state november.json --allow-unknown accounts")]
struct Finish {
    #[command(flatten)]
    common: Common,
    /// What may be unknown: accounts whose key nobody has used since the change. They have to connect again
    /// once the old secret is gone.
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    allow_unknown: Vec<Unknowable>,
    /// For how long to watch whether anybody still needs the old secret.
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = crate::cli::span)]
    window: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Unknowable {
    /// Keys of accounts that were not used since the change.
    Accounts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Provider {
    /// Google's.
    Gemini,
    /// A broker of many.
    Openrouter,
}

impl Provider {
    const fn on_the_wire(self) -> AiProvider {
        match self {
            Self::Gemini => AiProvider::Gemini,
            Self::Openrouter => AiProvider::Openrouter,
        }
    }
}

pub(crate) async fn run(service: &Service, args: Drill) -> Result<Outcome, Failed> {
    let What::Rotation(rotation) = args.what;
    let (report, format) = match rotation.step {
        Step::Begin(args) => (begin::run(service, &args).await?, args.common.format),
        Step::Check(args) => (check::run(service, &args).await?, args.common.format),
        Step::Finish(args) => (finish::run(service, &args).await?, args.common.format),
    };
    report.tell(format)
}
