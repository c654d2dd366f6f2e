//! From the file to its lines, however it ended and whoever wrote it.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;

use crate::recording::Line;

/// What could not be read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unread {
    /// Lines that are no lines of a recording.
    pub(crate) lines: u64,
    /// The last line ends in its middle: the run was killed, or is still going on.
    pub(crate) cut_off: bool,
}

/// Hands over each line in its order.
pub(crate) fn lines(path: &Path, mut take: impl FnMut(Line)) -> io::Result<Unread> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut unread = Unread::default();
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let mut most = reader.by_ref().take(LINE_BYTES_MAX);
        if most.read_until(b'\n', &mut bytes)? == 0 {
            return Ok(unread);
        }
        let whole = bytes.ends_with(b"\n");
        match serde_json::from_slice(&bytes) {
            Ok(line) => take(line),
            Err(_) if bytes.iter().all(u8::is_ascii_whitespace) => {}
            Err(_) if whole => unread.lines += 1,
            Err(_) if (bytes.len() as u64) < LINE_BYTES_MAX => unread.cut_off = true,
            Err(_) => {
                unread.lines += 1;
                reader.skip_until(b'\n')?;
            }
        }
    }
}

/// A line of ours has some 2 KB.
const LINE_BYTES_MAX: u64 = 1 << 20;
