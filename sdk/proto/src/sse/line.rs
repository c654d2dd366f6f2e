//! One line of an event stream.

use std::time::Duration;

/// What a line says, its field's value still in bytes.
pub(super) enum Line<'a> {
    Blank,
    Comment,
    Data(&'a [u8]),
    Event(&'a [u8]),
    Id(&'a [u8]),
    Retry(Duration),
    Ignored,
}

impl<'a> Line<'a> {
    pub(super) fn parse(line: &'a [u8]) -> Self {
        match line {
            [] => Self::Blank,
            [b':', ..] => Self::Comment,
            [b'd', b'a', b't', b'a', rest @ ..] => value(rest).map_or(Self::Ignored, Self::Data),
            [b'e', b'v', b'e', b'n', b't', rest @ ..] => {
                value(rest).map_or(Self::Ignored, Self::Event)
            }
            [b'i', b'd', rest @ ..] => value(rest).map_or(Self::Ignored, Self::Id),
            [b'r', b'e', b't', b'r', b'y', rest @ ..] => value(rest)
                .and_then(wait)
                .map_or(Self::Ignored, Self::Retry),
            _ => Self::Ignored,
        }
    }
}

/// The value behind a field's name; `None` where the name goes on.
fn value(rest: &[u8]) -> Option<&[u8]> {
    match rest {
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        [] => Some(rest),
        _ => None,
    }
}

/// Digits only; more of them than fit are a very long time.
fn wait(value: &[u8]) -> Option<Duration> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let text = str::from_utf8(value).ok().filter(|_| digits)?;
    Some(Duration::from_millis(text.parse().unwrap_or(u64::MAX)))
}
