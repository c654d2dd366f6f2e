//! How a run ends: the exit codes that scripts rely on.

use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use evenkeel::store::{OpenError, StoreError};
use serde_json::json;

use crate::output::Output;

/// What a run came to. Of several, the highest is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Code {
    Done = 0,
    Waiting = 1,
    Usage = 2,
    Broken = 3,
    Conflict = 4,
    Refused = 5,
    NotFound = 6,
    Store = 7,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// A run that could not do what it was asked to: the message says why and what to do about it.
#[derive(Debug)]
pub(crate) struct Failed {
    code: Code,
    name: &'static str,
    message: String,
}

impl Failed {
    pub(crate) fn new(code: Code, name: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            code,
            name,
            message,
        }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::Usage, "usage", message)
    }

    pub(crate) fn broken(message: impl Into<String>) -> Self {
        Self::new(Code::Broken, "failed", message)
    }

    pub(crate) fn not_found(id: &str, what: &str) -> Self {
        let message = format!("there is no {what} {id}");
        Self::new(Code::NotFound, "not_found", message)
    }

    /// Why a store does not open, in terms of the command line.
    pub(crate) fn of_opening(error: &OpenError, path: &std::path::Path) -> Self {
        let path = path.display();
        let (name, advice) = match error {
            OpenError::WrongAccount => (
                "wrong_account",
                "give its owner with --account, or another --store",
            ),
            OpenError::Setting { .. } => {
                return Self::usage("--account: a name of 1 to 256 characters");
            }
            OpenError::NotAStore { .. } => ("not_a_store", "give another --store"),
            OpenError::Newer { .. } => ("newer_store", "use the newer notes that wrote it"),
            OpenError::Corrupt { .. } => (
                "store_damaged",
                "copy it away before anything else: notes that were not sent may be in it",
            ),
            OpenError::Busy => ("store_in_use", "close the program that has it open"),
            OpenError::Full => ("storage_full", "make room on the disk"),
            _ => (
                "store_unusable",
                "give another --store, or the rights to it",
            ),
        };
        Self::new(
            Code::Store,
            name,
            format!("{path}: {}; {advice}", chain(error)),
        )
    }

    /// One line on standard error.
    pub(crate) fn report(self, output: &Output) -> ExitCode {
        if self.code != Code::Done {
            output.complain(
                &format!("notes: {}", self.message),
                &json!({"event": "error", "code": self.name, "message": self.message}),
            );
        }
        self.code.into()
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        let (name, advice) = match &error {
            StoreError::OutboxFull { .. } => (
                "outbox_full",
                "; go online, or decide what `notes conflicts` and `notes parked` show",
            ),
            StoreError::Id => return Self::usage(error.to_string()),
            StoreError::NotFound => {
                return Self::new(Code::NotFound, "not_found", error.to_string());
            }
            StoreError::Full => ("storage_full", "; make room on the disk"),
            StoreError::Corrupt { .. } => ("store_damaged", "; copy the file away"),
            _ => ("failed", ""),
        };
        Self::new(Code::Broken, name, format!("{}{advice}", chain(&error)))
    }
}

/// A reader that went away (a closed pipe) has seen enough.
impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Code::Done, "closed", "the reader of the output went away");
        }
        Self::broken(format!("cannot write the output: {error}"))
    }
}

/// An error with what led to it, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let _ = write!(text, ": {inner}");
        source = inner.source();
    }
    text
}
