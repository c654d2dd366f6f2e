//! Decisions out of bytes: the same bytes are always the same decisions, and once they are used up
//! every decision is the first one.

use std::time::Duration;

pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn u8(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.u8(), self.u8()])
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.u8()))
    }

    pub(crate) fn bool(&mut self) -> bool {
        self.u8() & 1 == 1
    }

    /// Below `end`, which is at most 65,536.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        u64::from(self.u16()) % end
    }

    pub(crate) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.u8()) % choices.len()]
    }

    /// Most often short, now and then up to `max`.
    pub(crate) fn span(&mut self, max: Duration) -> Duration {
        let part = u32::from(self.u16());
        match part % 4 {
            0 => Duration::from_millis(u64::from(part / 4) % 50),
            1 => Duration::from_millis(u64::from(part / 4)).min(max),
            _ => max * (part / 4) / 16_384,
        }
    }

    /// Up to the next line feed.
    pub(crate) fn line(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|b| *b == b'\n');
        let (line, rest) = match end {
            Some(end) => (&self.0[..end], &self.0[end + 1..]),
            None => (self.0, &[][..]),
        };
        self.0 = rest;
        line
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}
