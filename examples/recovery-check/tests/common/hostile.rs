//! Services that are none: each answers every request of every connection in its own bad way.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
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
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                // Whoever hangs up has seen enough.
                let _ = serve(kind, stream);
            });
        }
    });
    url
}

fn serve(kind: Hostile, mut stream: TcpStream) -> std::io::Result<()> {
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
        Hostile::Closes => {}
    }
    // A close with bytes unread would be a reset.
    stream.shutdown(std::net::Shutdown::Write)?;
    while stream.read(&mut request)? > 0 {}
    Ok(())
}
