//! Writing to standard output: whole lines at once, and colours only on a terminal.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

/// Standard output, line by line.
#[derive(Debug)]
pub(crate) struct Output {
    /// It understands what moves the cursor.
    pub(crate) terminal: bool,
    colours: bool,
}

impl Output {
    pub(crate) fn new() -> Self {
        let terminal = is_capable(&io::stdout());
        Self {
            terminal,
            colours: terminal && colours_wanted(),
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
        if self.colours {
            format!("\x1b[{}m{text}\x1b[0m", colour as u8)
        } else {
            text.to_owned()
        }
    }
}

/// Whether somebody looks at it with something that understands escape sequences.
pub(crate) fn is_capable(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// See no-color.org.
pub(crate) fn colours_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
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
