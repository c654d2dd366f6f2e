//! Text in HTML: escaped, and times as people read them.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

/// This text as text in HTML, in an attribute too: whatever it holds, no markup. Control characters and
/// those that turn the direction of writing are left out, and so is what is longer than a label.
pub(crate) fn esc(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (i, c) in text.chars().enumerate() {
        if i == TEXT_CHARS_MAX {
            out.push('…');
            break;
        }
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}' => {}
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// `2026-11-23 23:14:05`, in UTC.
pub(crate) fn date_and_time(at_ms: u64) -> String {
    let at = UNIX_EPOCH + Duration::from_millis(at_ms.min(YEAR_9999_MS));
    let text = humantime::format_rfc3339_seconds(at).to_string();
    text.trim_end_matches('Z').replace('T', " ")
}

/// `23:14:05`, in UTC.
pub(crate) fn time(at_ms: u64) -> String {
    date_and_time(at_ms).split_off(11)
}

/// A span in at most two units: `840 ms`, `12.4 s`, `3 min 20 s`, `5 h 2 min`, `2 d 3 h`.
pub(crate) fn span(ms: u64) -> String {
    let s = ms / 1000;
    let two = |big: u64, unit: &str, small: u64, smaller: &str| {
        let mut text = format!("{big} {unit}");
        if small > 0 {
            let _ = write!(text, " {small} {smaller}");
        }
        text
    };
    match s {
        0 => format!("{ms} ms"),
        1..60 => format!("{:.1} s", (ms / 100) as f64 / 10.0),
        60..3600 => two(s / 60, "min", s % 60, "s"),
        3600..86_400 => two(s / 3600, "h", s / 60 % 60, "min"),
        _ => two(s / 86_400, "d", s / 3600 % 24, "h"),
    }
}

/// `1,234,567`.
pub(crate) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 restart`, `2 restarts`.
pub(crate) fn count(n: usize, what: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{} {what}{s}", number(n as u64))
}

const TEXT_CHARS_MAX: usize = 400;
pub(crate) const YEAR_9999_MS: u64 = 253_402_300_799_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        assert_eq!(esc(r#"<b a='1'>"&"#), "&lt;b a=&#39;1&#39;&gt;&quot;&amp;");
        assert_eq!(esc("a\u{0}b\u{202e}c\nd"), "a bc d");
        assert!(esc(&"x".repeat(1000)).len() < 410);
    }

    #[test]
    fn times_are_read_without_counting() {
        assert_eq!(date_and_time(0), "1970-01-01 00:00:00");
        assert_eq!(date_and_time(u64::MAX), "9999-12-31 23:59:59");
        assert_eq!(time(3_723_000), "01:02:03");
        for (ms, text) in [
            (840, "840 ms"),
            (12_440, "12.4 s"),
            (59_990, "59.9 s"),
            (200_000, "3 min 20 s"),
            (3_600_000, "1 h"),
            (18_120_000, "5 h 2 min"),
            (183_600_000, "2 d 3 h"),
        ] {
            assert_eq!(span(ms), text);
        }
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(
            count(1, "restart") + &count(2, "restart"),
            "1 restart2 restarts"
        );
    }
}
