//! How a run ends: the exit codes that scripts rely on.

use std::io::{self, Write as _};
use std::process::ExitCode;

/// A run that did what it was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// 0: as asked.
    AsAsked,
    /// 1: not reached, or not recovered.
    NotReached,
    /// 3: could not tell; the answer says what is missing.
    Unknown,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::AsAsked => Self::SUCCESS,
            Outcome::NotReached => Self::from(1),
            Outcome::Unknown => Self::from(3),
        }
    }
}

/// A run that could not do it.
#[derive(Debug)]
pub(crate) struct Failed {
    code: u8,
    message: String,
}

impl Failed {
    /// 2: usage or configuration.
    pub(crate) fn configuration(message: impl Into<String>) -> Self {
        Self {
            code: 2,
            message: message.into(),
        }
    }

    /// 3: could not tell.
    pub(crate) fn unknown(message: impl Into<String>) -> Self {
        Self {
            code: 3,
            message: message.into(),
        }
    }

    pub(crate) fn report(self) -> ExitCode {
        if self.code != 0 {
            // Nobody may be listening there either.
            let _ = writeln!(io::stderr(), "recovery-check: {}", self.message);
        }
        ExitCode::from(self.code)
    }
}

/// A reader that went away (a closed pipe) has seen enough; anything else is worth telling.
impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self {
                code: 0,
                message: "the reader of the output went away".to_owned(),
            };
        }
        Self::unknown(format!("cannot write the output: {error}"))
    }
}
