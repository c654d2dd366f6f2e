//! Which origin a request goes to, where there are several.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::uri::Authority;
use tokio::net::TcpStream;

/// The origins of one edge, taken in turn.
#[derive(Debug)]
pub(super) struct Origins {
    all: Vec<Authority>,
    next: AtomicUsize,
}

/// One request's way through them. It goes on where the last attempt has stopped, so that a repeat meets
/// another one.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    all: &'a [Authority],
    at: usize,
}

impl Origins {
    pub(super) const fn new(all: Vec<Authority>) -> Self {
        Self {
            all,
            next: AtomicUsize::new(0),
        }
    }

    /// `None` for an edge that was deployed without any.
    pub(super) fn turn(&self) -> Option<Turn<'_>> {
        (!self.all.is_empty()).then(|| Turn {
            all: &self.all,
            at: self.next.fetch_add(1, Ordering::Relaxed),
        })
    }
}

impl<'a> Turn<'a> {
    pub(super) fn of_one(only: &'a Authority) -> Self {
        Self {
            all: std::slice::from_ref(only),
            at: 0,
        }
    }

    /// Connects to the first that takes the connection; each is asked once. Nothing was sent to those
    /// that did not, so that going on is no repeat.
    pub(super) async fn connect(&mut self) -> io::Result<(TcpStream, &'a Authority)> {
        let mut last = io::ErrorKind::NotConnected.into();
        for _ in 0..self.all.len() {
            let origin = &self.all[self.at % self.all.len()];
            self.at = self.at.wrapping_add(1);
            let port = origin.port_u16().unwrap_or(80);
            match TcpStream::connect((origin.host(), port)).await {
                Ok(stream) => return Ok((stream, origin)),
                Err(error) => {
                    tracing::debug!(%origin, %error, "origin does not take a connection");
                    last = error;
                }
            }
        }
        Err(last)
    }
}
