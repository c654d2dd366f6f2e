//! Writing to standard output: whole lines at once, and colours only on a terminal.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

/// Standard output, line by line.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) terminal: bool,
}

impl Output {
    pub(crate) fn new() -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        Self {
            terminal: io::stdout().is_terminal() && !plain,
        }
    }

    pub(crate) fn line(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.terminal {
            // A live line may stand there.
            out.write_all(b"\r\x1b[K")?;
        }
        out.write_all(text.as_bytes())?;
        out.write_all(b"\n")?;
        out.flush()
    }

    pub(crate) fn json(&self, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string(value)?;
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.write_all(b"\n")?;
        out.flush()
    }

    /// A line that the next one replaces; nothing where there is no terminal.
    pub(crate) fn live(&self, text: &str) -> io::Result<()> {
        if !self.terminal {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        write!(out, "\r\x1b[K{text}")?;
        out.flush()
    }

    pub(crate) fn paint(&self, colour: Colour, text: &str) -> String {
        if self.terminal {
            format!("\x1b[{}m{text}\x1b[0m", colour as u8)
        } else {
            text.to_owned()
        }
    }
}

/// What means what.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Colour {
    Bold = 1,
    Faint = 2,
    Bad = 31,
    Good = 32,
    Busy = 33,
}
