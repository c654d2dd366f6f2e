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

    /// A line that the next one replaces, of as many parts as fit; nothing where there is no terminal.
    pub(crate) fn live(&self, parts: &[(Colour, String)]) -> io::Result<()> {
        if !self.terminal {
            return Ok(());
        }
        let (terminal_size::Width(width), _) = terminal_size::terminal_size()
            .unwrap_or((terminal_size::Width(80), terminal_size::Height(24)));
        let mut left = usize::from(width).saturating_sub(1);
        let mut line = String::from("\r\x1b[K");
        for (colour, part) in parts {
            let Some(rest) = left.checked_sub(part.chars().count() + 2) else {
                break;
            };
            left = rest;
            line.push_str(&self.paint(*colour, part));
            line.push_str("  ");
        }
        let mut out = io::stdout().lock();
        out.write_all(line.as_bytes())?;
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
