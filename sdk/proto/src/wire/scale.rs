//! How much memory JSON takes once it is unfolded, judged by its bytes before anybody does that.
//!
//! Eight bytes of JSON (`{"a":0},`) can be half a kilobyte of maps and vectors: a limit on bytes alone
//! is no limit on memory. What is counted here are the places where structure begins; the text itself
//! takes no more than its bytes, which the limits on bodies see to.

use memchr::memchr2;

/// Adds up what pieces of JSON would take. The pieces are cut anywhere; what is not JSON is counted
/// as if it were.
///
/// ```
/// use evenkeel_proto::wire::Scale;
/// let note = br#"{"id":"n1","version":1,"content":"milk","tags":["a","b"]}"#;
/// assert!(Scale::of(note).tree_bytes() < 5_000);
/// let bomb = br#"{"a":0},"#.repeat(1_000);
/// assert!(Scale::of(&bomb).tree_bytes() > 500_000);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Scale {
    in_text: bool,
    escaped: bool,
    bytes: usize,
    tree_bytes: usize,
}

impl Scale {
    /// What these bytes take.
    #[must_use]
    pub fn of(json: &[u8]) -> Self {
        let mut scale = Self::default();
        scale.add(json);
        scale
    }

    /// Whether these bytes become no more structure than that; sees where they begin to be too much,
    /// and looks no further.
    #[must_use]
    pub fn fits(json: &[u8], tree_bytes_max: usize) -> bool {
        let mut scale = Self::default();
        json.chunks(CHUNK_BYTES).all(|chunk| {
            scale.add(chunk);
            scale.tree_bytes <= tree_bytes_max
        })
    }

    /// The next piece.
    pub fn add(&mut self, piece: &[u8]) {
        self.bytes = self.bytes.saturating_add(piece.len());
        let mut rest = piece;
        loop {
            if self.in_text {
                if self.escaped && !rest.is_empty() {
                    self.escaped = false;
                    rest = &rest[1..];
                }
                // A vector search does not pay for names and dates.
                let (near, far) = rest.split_at(rest.len().min(SHORT_BYTES));
                let near = near.iter().position(|byte| matches!(byte, b'"' | b'\\'));
                let far = || memchr2(b'"', b'\\', far).map(|at| at + SHORT_BYTES);
                let Some(at) = near.or_else(far) else {
                    return;
                };
                self.escaped = rest[at] == b'\\';
                self.in_text = self.escaped;
                rest = &rest[at + 1..];
            }
            if !self.in_text {
                let Some(at) = self.structure(rest) else {
                    return;
                };
                self.in_text = true;
                rest = &rest[at + 1..];
            }
        }
    }

    /// How many bytes have come since the last [`Scale::begin`].
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// About how much structure they become in memory since the last [`Scale::begin`], rather too much
    /// than too little: a page of ordinary records is some kilobytes each.
    #[must_use]
    pub const fn tree_bytes(&self) -> usize {
        self.tree_bytes
    }

    /// Counts anew from here, in the same text.
    pub const fn begin(&mut self) {
        self.bytes = 0;
        self.tree_bytes = 0;
    }

    /// Counts up to the next text; says where that begins.
    fn structure(&mut self, json: &[u8]) -> Option<usize> {
        let mut sum = 0_usize;
        let mut text = None;
        for (at, byte) in json.iter().enumerate() {
            sum += match byte {
                b'"' => {
                    text = Some(at);
                    break;
                }
                b',' => VALUE_BYTES,
                b'[' => LIST_BYTES,
                b'{' => MAP_BYTES,
                b':' => ENTRY_BYTES,
                _ => 0,
            };
        }
        if text.is_some() {
            sum += TEXT_BYTES;
        }
        self.tree_bytes = self.tree_bytes.saturating_add(sum);
        text
    }
}

const CHUNK_BYTES: usize = 64 << 10;
const SHORT_BYTES: usize = 16;
/// A value in a list that has just grown to twice its length, the old one not yet given back.
const VALUE_BYTES: usize = 160;
/// A list's first room.
const LIST_BYTES: usize = 320;
/// A map's first room, and its table.
const MAP_BYTES: usize = 512;
/// An entry's name and place in a table.
const ENTRY_BYTES: usize = 64;
/// A piece of the heap for a text.
const TEXT_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_weigh_what_the_whole_weighs() {
        let json = br#"{"a":"x,[{\"\\","b":[1,2,{"c":"\\\\"},"],["],"d":{}}"#;
        let whole = Scale::of(json);
        for cut in 0..json.len() {
            let mut scale = Scale::default();
            scale.add(&json[..cut]);
            scale.add(&json[cut..]);
            assert_eq!(scale.tree_bytes(), whole.tree_bytes(), "cut at {cut}");
            assert_eq!(scale.bytes(), json.len());
        }
        assert_eq!(
            whole.tree_bytes(),
            3 * MAP_BYTES + LIST_BYTES + 4 * ENTRY_BYTES + 5 * VALUE_BYTES + 7 * TEXT_BYTES
        );
    }

    #[test]
    fn what_fits_is_what_weighs_no_more() {
        let json = br#"{"a":[1,2,3],"long":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"","b":0}"#
            .repeat(3_000);
        let weight = Scale::of(&json).tree_bytes();
        assert!(Scale::fits(&json, weight));
        assert!(!Scale::fits(&json, weight - 1));
        assert!(Scale::fits(b"", 0));
    }

    #[test]
    fn structure_within_a_text_weighs_nothing() {
        let text = format!("\"{}\"", "[{,:".repeat(100));
        assert_eq!(Scale::of(text.as_bytes()).tree_bytes(), TEXT_BYTES);
    }

    #[test]
    fn what_values_really_take_is_less() {
        let value = size_of::<serde_json::Value>();
        assert!(2 * value <= VALUE_BYTES, "{value}");
        assert!(4 * value <= LIST_BYTES, "{value}");
    }
}
