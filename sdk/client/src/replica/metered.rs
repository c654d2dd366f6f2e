//! An answer that is weighed while it is read: only one record of it is in memory at a time, so one
//! record must not be as large as a whole answer may be, nor unfold to many times its bytes.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read};

use evenkeel_proto::wire::Scale;

use crate::transport::TREE_BYTES_MAX;

/// What has been read since the last record was handed out.
#[derive(Default)]
pub(super) struct Meter(Cell<Scale>);

impl Meter {
    /// A record has been handed out: the next one may be as large.
    pub(super) fn begin(&self) {
        let mut scale = self.0.get();
        scale.begin();
        self.0.set(scale);
    }
}

/// Reads through a meter. Its buffer is behind it: what lies there counts for the record before.
pub(super) struct Metered<'m, R> {
    inner: R,
    meter: &'m Meter,
}

impl<'m, R> Metered<'m, R> {
    pub(super) const fn new(inner: R, meter: &'m Meter) -> Self {
        Self { inner, meter }
    }
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let mut scale = self.meter.0.get();
        scale.add(&buffer[..read]);
        self.meter.0.set(scale);
        if scale.bytes() > RECORD_BYTES_MAX || scale.tree_bytes() > TREE_BYTES_MAX {
            return Err(TOO_LARGE.into());
        }
        Ok(read)
    }
}

/// How an answer ends that has a record beyond the limits.
pub(super) const TOO_LARGE: ErrorKind = ErrorKind::FileTooLarge;

/// The largest body that an edge takes is 10 MiB, so no record is larger; written in another way it
/// may be a little longer.
pub(super) const RECORD_BYTES_MAX: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &[u8], meter: &Meter) -> Result<usize, ErrorKind> {
        let mut all = Vec::new();
        let read = Metered::new(json, meter).read_to_end(&mut all);
        read.map_err(|error| error.kind())
    }

    #[test]
    fn one_record_may_be_large_and_the_next_one_too_but_not_both_in_one() {
        let meter = Meter::default();
        let half = vec![b'x'; RECORD_BYTES_MAX / 2 + 1];
        assert!(read(&half, &meter).is_ok());
        meter.begin();
        assert!(read(&half, &meter).is_ok());
        assert_eq!(read(&half, &meter), Err(TOO_LARGE));
    }

    #[test]
    fn what_unfolds_is_refused_long_before_it_is_large() {
        let tiny = br#"{"a":0},"#.repeat(128 << 10);
        assert_eq!(read(&tiny, &Meter::default()), Err(TOO_LARGE));
    }
}
