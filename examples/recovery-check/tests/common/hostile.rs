//! Services that are none: each answers every request of every connection in its own bad way.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// What comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hostile {
    /// Bytes that are not HTTP.
    Garbage,
    /// 200 and a page.
    Html,
    /// 200 and JSON that is nothing of the service's.
    OtherJson,
    /// To an address that nobody must go to.
    Redirect,
    /// A JSON text of 100 MB.
    Huge,
    /// A body that does not end.
    Endless,
    /// A header that does not end, a byte at a time.
    Drip,
    /// The connection is taken, and nothing comes.
    Nothing,
    /// The connection ends at once.
    Closes,
    /// The service's own forms, with numbers that cannot be. Not one of [`ALL`]: much of it looks well.
    Absurd,
}

pub const ALL: [Hostile; 9] = [
    Hostile::Garbage,
    Hostile::Html,
    Hostile::OtherJson,
    Hostile::Redirect,
    Hostile::Huge,
    Hostile::Endless,
    Hostile::Drip,
    Hostile::Nothing,
    Hostile::Closes,
];

/// Listens for as long as the test's process lives.
pub fn start(kind: Hostile) -> String {
    start_at(kind, "127.0.0.1:0")
}

/// In the place of something that listened there before.
pub fn start_at(kind: Hostile, address: &str) -> String {
    let listener = TcpListener::bind(address).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let counted = Arc::<AtomicBool>::default();
        for stream in listener.incoming().flatten() {
            let counted = Arc::clone(&counted);
            thread::spawn(move || {
                // Whoever hangs up has seen enough.
                let _ = serve(kind, stream, &counted);
            });
        }
    });
    url
}

fn serve(kind: Hostile, mut stream: TcpStream, counted: &AtomicBool) -> std::io::Result<()> {
    if kind == Hostile::Closes {
        return Ok(());
    }
    let mut request = [0; 4096];
    if stream.read(&mut request)? == 0 {
        return Ok(());
    }
    let head = |kind: &str, length: &str| {
        format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n{length}connection: close\r\n\r\n")
    };
    match kind {
        Hostile::Garbage => stream.write_all(&[0xff; 512])?,
        Hostile::Html => {
            let page = "<!doctype html><title>\x1b[31mWelcome</title>";
            let length = format!("content-length: {}\r\n", page.len());
            stream.write_all((head("text/html", &length) + page).as_bytes())?;
        }
        Hostile::OtherJson => {
            let length = "content-length: 13\r\n";
            let json = r#"{"hello":"x"}"#;
            stream.write_all((head("application/json", length) + json).as_bytes())?;
        }
        Hostile::Redirect => stream.write_all(
            b"HTTP/1.1 302 Found\r\nlocation: http://192.0.2.1/\r\ncontent-length: 0\r\n\r\n",
        )?,
        Hostile::Huge => {
            let length = format!("content-length: {}\r\n", 100_000_002);
            stream.write_all(head("application/json", &length).as_bytes())?;
            stream.write_all(b"\"")?;
            for _ in 0..100 {
                stream.write_all(&vec![b'x'; 1_000_000])?;
            }
            stream.write_all(b"\"")?;
        }
        Hostile::Endless => {
            stream.write_all(head("application/json", "").as_bytes())?;
            loop {
                stream.write_all(&[b' '; 4096])?;
            }
        }
        Hostile::Drip => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nx-slow: ")?;
            loop {
                stream.write_all(b"x")?;
                thread::sleep(Duration::from_millis(50));
            }
        }
        Hostile::Nothing => {
            // Until the other side gives up.
            while stream.read(&mut request)? > 0 {}
        }
        Hostile::Absurd => {
            let json = absurd(&String::from_utf8_lossy(&request), counted);
            let length = format!("content-length: {}\r\n", json.len());
            stream.write_all((head("application/json", &length) + &json).as_bytes())?;
        }
        Hostile::Closes => {}
    }
    // A close with bytes unread would be a reset.
    stream.shutdown(std::net::Shutdown::Write)?;
    while stream.read(&mut request)? > 0 {}
    Ok(())
}

/// What it answers to this request. Its counters are at zero once, and then as high as they can be.
fn absurd(request: &str, counted: &AtomicBool) -> String {
    let most = i64::MAX;
    let path = request.split_whitespace().nth(1).unwrap_or_default();
    if path.starts_with("/ready") {
        return format!(
            r#"{{"ok":true,"dependencies":{{"database":{{"ok":true}},"redis":{{"ok":true,
                "degradedForMs":{most},"consecutiveFailures":{most}}}}}}}"#
        );
    }
    if path.starts_with("/api/v1/metrics") {
        let n = match counted.swap(true, Ordering::Relaxed) {
            true => most,
            false => 0,
        };
        return format!(
            r#"{{"metrics":{{"requests":{n},"vpsProxyFailures":{n},"vpsProxyTimeouts":{n},
                "vpsProxyCircuitOpens":{n},"vpsProxyCircuitRejects":{n},"providerFailures":{n}}},
                "failureCauses":{{"upstream":{{"timeout":{n},"strange":{n}}},"provider":{{"strange":{n}}}}},
                "reliability":{{"secretRotation":{{"fallbackDecrypts":{n},"decryptFailures":{n},
                "reencryptSuccesses":{n},"reencryptFailures":{n}}}}},
                "vpsProxyCircuit":{{"open":false,"openUntil":{most},"remainingMs":{most}}}}}"#
        );
    }
    format!(r#"{{"changes":[],"nextCursor":{most},"ok":true,"expiresAt":{most}}}"#)
}
