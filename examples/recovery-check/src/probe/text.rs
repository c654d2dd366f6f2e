//! What a stranger wrote, made fit to be shown.

/// Without what moves a terminal's cursor, and not longer than somebody would read.
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::new();
    for (i, c) in text.trim().chars().enumerate() {
        if i == CHARS_MAX {
            shown.push('…');
            break;
        }
        shown.push(if is_harmless(c) { c } else { ' ' });
    }
    shown
}

fn is_harmless(c: char) -> bool {
    // The marks that turn the direction of writing hide what a text says.
    !c.is_control()
        && !matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

const CHARS_MAX: usize = 240;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_and_long_texts_do_not_come_through() {
        assert_eq!(shown("x\x1b[2Ja\nb\u{202e}c"), "x [2Ja b c");
        assert_eq!(shown(&"x".repeat(1_000)).chars().count(), CHARS_MAX + 1);
    }
}
