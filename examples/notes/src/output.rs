//! Whole lines, in words or as JSON.

use std::io::{self, Write};

use serde_json::Value;

/// How a run talks to whoever started it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// A line on standard output, gone to whoever reads it when this returns.
    pub(crate) fn say(&self, words: &str, value: &Value) -> io::Result<()> {
        self.line(io::stdout().lock(), words, value)
    }

    /// A line on standard error, where nobody may be listening.
    pub(crate) fn complain(&self, words: &str, value: &Value) {
        let _ = self.line(io::stderr().lock(), words, value);
    }

    fn line(&self, mut to: impl Write, words: &str, value: &Value) -> io::Result<()> {
        let line = match self.json {
            true => format!("{value}\n"),
            false => format!("{words}\n"),
        };
        to.write_all(line.as_bytes())?;
        to.flush()
    }
}
