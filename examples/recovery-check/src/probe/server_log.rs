//! The origin's log (JSON lines), searched for trouble with Redis.
//!
//! A log is large, is written to while it is read, and holds whatever somebody logged: only its end is
//! read, a line that cannot be read is counted and left, and nothing of it is kept but the counts.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use serde::Serialize;
use serde_json::Value;

use super::shown;

/// What the log says of Redis.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct RedisLog {
    pub(crate) lines: u64,
    /// No JSON object, or longer than a line should be.
    pub(crate) unreadable_lines: u64,
    /// How much of the log's beginning was left out.
    pub(crate) skipped_bytes: u64,
    pub(crate) connection_errors: Sightings,
    pub(crate) reconnects: Sightings,
}

/// How many, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Sightings {
    pub(crate) count: u64,
    pub(crate) first_at_ms: Option<i64>,
    pub(crate) last_at_ms: Option<i64>,
    pub(crate) last_message: Option<String>,
}

/// Reads the end of the file; the error is in words.
pub(crate) async fn read(path: PathBuf) -> Result<RedisLog, String> {
    // A file can be on a network drive, or be a pipe that nobody writes to.
    let reading = tokio::task::spawn_blocking(move || RedisLog::of_file(&path));
    match tokio::time::timeout(TIME_MAX, reading).await {
        Ok(Ok(read)) => read.map_err(|e| shown(&e.to_string())),
        Ok(Err(_)) => Err("the reader broke".to_owned()),
        Err(_) => Err(format!("not read within {} s", TIME_MAX.as_secs())),
    }
}

impl RedisLog {
    fn of_file(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        let skipped = length.saturating_sub(BYTES_MAX);
        let mut log = Self::default();
        if skipped > 0 {
            file.seek(SeekFrom::Start(skipped))?;
        }
        let mut lines = BufReader::with_capacity(64 * 1024, file.take(BYTES_MAX));
        if skipped > 0 {
            log.skipped_bytes = skipped;
            skip_line(&mut lines)?;
        }
        log.read(&mut lines)?;
        Ok(log)
    }

    fn read(&mut self, lines: &mut impl BufRead) -> io::Result<()> {
        let end = Instant::now() + TIME_MAX;
        let mut line = Vec::new();
        while Instant::now() < end {
            line.clear();
            let read = lines.take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok(());
            }
            self.lines += 1;
            if line.last() != Some(&b'\n') && read as u64 == LINE_BYTES_MAX {
                self.unreadable_lines += 1;
                skip_line(lines)?;
                continue;
            }
            self.line(&line);
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "it takes too long"))
    }

    fn line(&mut self, line: &[u8]) {
        if line.trim_ascii().is_empty() {
            return;
        }
        let Ok(Value::Object(fields)) = serde_json::from_slice(line) else {
            self.unreadable_lines += 1;
            return;
        };
        let text = String::from_utf8_lossy(line).to_ascii_lowercase();
        if !text.contains("redis") {
            return;
        }
        let message = ["msg", "message", "event", "error", "err"]
            .iter()
            .find_map(|name| match fields.get(*name) {
                Some(Value::String(text)) => Some(text.as_str()),
                Some(Value::Object(inner)) => inner.get("message").and_then(Value::as_str),
                _ => None,
            });
        let at = ["time", "ts", "timestamp", "@timestamp", "at", "at_ms"]
            .iter()
            .find_map(|name| when(fields.get(*name)?));
        let sightings = if RECONNECT.iter().any(|word| text.contains(word)) {
            &mut self.reconnects
        } else if CONNECTION_ERROR.iter().any(|word| text.contains(word)) {
            &mut self.connection_errors
        } else {
            return;
        };
        sightings.count += 1;
        sightings.first_at_ms = [sightings.first_at_ms, at].into_iter().flatten().min();
        sightings.last_at_ms = [sightings.last_at_ms, at].into_iter().flatten().max();
        sightings.last_message = message.map(shown);
    }
}

impl Sightings {
    /// How long before `now_ms` the last was, where its time could be read.
    pub(crate) fn last_before(&self, now_ms: i64) -> Option<Duration> {
        let ago_ms = now_ms.saturating_sub(self.last_at_ms?).max(0);
        u64::try_from(ago_ms).ok().map(Duration::from_millis)
    }
}

fn skip_line(lines: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = lines.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        match buffer.iter().position(|b| *b == b'\n') {
            Some(at) => {
                lines.consume(at + 1);
                return Ok(());
            }
            None => {
                let all = buffer.len();
                lines.consume(all);
            }
        }
    }
}

/// Seconds or milliseconds since 1970, or a time as RFC 3339 writes it.
fn when(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => {
            let number = number.as_f64().filter(|n| *n > 0.0 && *n < 1e14)?;
            Some(if number < 1e11 {
                number * 1_000.0
            } else {
                number
            } as i64)
        }
        Value::String(text) => {
            let at = humantime::parse_rfc3339_weak(text).ok()?;
            i64::try_from(at.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
        }
        _ => None,
    }
}

const RECONNECT: [&str; 3] = [
    "reconnect",
    "connection restored",
    "connection re-established",
];
const CONNECTION_ERROR: [&str; 11] = [
    "econnrefused",
    "econnreset",
    "etimedout",
    "enotfound",
    "epipe",
    "connection refused",
    "connection lost",
    "connection closed",
    "connection error",
    "connect failed",
    "timed out",
];
/// What is read of the log's end.
const BYTES_MAX: u64 = 256 << 20;
const LINE_BYTES_MAX: u64 = 64 << 10;
const TIME_MAX: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> RedisLog {
        let mut log = RedisLog::default();
        log.read(&mut &text[..]).unwrap();
        log
    }

    #[test]
    fn errors_and_reconnects_are_counted_with_their_times() {
        let log = read(
            br#"{"level":50,"time":1700000000000,"msg":"redis: connect ECONNREFUSED 10.0.0.1:6379"}
{"level":"warn","time":"2023-11-14T22:13:25Z","component":"redis","msg":"reconnecting in 200 ms"}
{"level":50,"time":1700000010,"err":{"message":"Redis connection lost"}}
{"level":30,"time":1700000011000,"msg":"request completed"}
{"level":30,"time":1700000011000,"msg":"redis ready"}
"#,
        );
        assert_eq!(log.lines, 5);
        assert_eq!(log.unreadable_lines, 0);
        assert_eq!(log.connection_errors.count, 2);
        assert_eq!(log.connection_errors.first_at_ms, Some(1_700_000_000_000));
        assert_eq!(log.connection_errors.last_at_ms, Some(1_700_000_010_000));
        let message = log.connection_errors.last_message.as_deref();
        assert_eq!(message, Some("Redis connection lost"));
        assert_eq!(log.reconnects.count, 1);
        assert_eq!(log.reconnects.last_at_ms, Some(1_700_000_005_000));
    }

    #[test]
    fn hostile_lines_are_counted_and_left() {
        let mut text = Vec::new();
        text.extend_from_slice(b"\xff\xfe\0redis ECONNREFUSED\n[1,2]\n\n{\"redis\":\n");
        text.extend_from_slice("[".repeat(60_000).as_bytes());
        text.push(b'\n');
        text.extend_from_slice(&vec![b'x'; 3 << 20]);
        text.extend_from_slice(b"\n{\"msg\":\"redis \\u001b[2J ECONNRESET\",\"time\":1e300}");
        let log = read(&text);
        assert_eq!(log.unreadable_lines, 5);
        assert_eq!(log.connection_errors.count, 1);
        assert_eq!(log.connection_errors.last_at_ms, None);
        let message = log.connection_errors.last_message.unwrap();
        assert!(!message.contains('\u{1b}'));
    }

    #[test]
    fn of_a_large_file_the_end_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let file = File::create(&path).unwrap();
        // A hole takes no room.
        file.set_len(BYTES_MAX + 1_000).unwrap();
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap();
        io::Write::write_all(&mut file, b"\n{\"msg\":\"redis ETIMEDOUT\"}\n").unwrap();
        let log = RedisLog::of_file(&path).unwrap();
        assert_eq!(log.connection_errors.count, 1);
        assert!(log.skipped_bytes > 1_000);
    }
}
