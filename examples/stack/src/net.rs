//! Listening, and breaking connections in the ways that real ones break.
//!
//! A server that "refuses" has really closed its listener. Its port stays bound, without listening, so
//! that no outgoing connection of this machine can take it meanwhile.

mod drive;
mod socket;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::faults::{FaultSet, Faults};
use drive::Drive;

/// A port that serves a router until it is stopped or dropped.
#[derive(Debug)]
pub(crate) struct Server {
    addr: SocketAddr,
    scheme: &'static str,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Where a server listens, and whether only over TLS.
pub(crate) struct Place {
    pub(crate) addr: SocketAddr,
    pub(crate) tls: Option<TlsAcceptor>,
}

/// Whether the port refuses connections for now.
pub(crate) type Refuses = fn(&FaultSet) -> bool;

impl Server {
    /// Listens on the loopback; port 0 lets the system choose.
    pub(crate) fn start(
        port: u16,
        router: Router,
        faults: &Faults,
        refuses: Refuses,
    ) -> io::Result<Self> {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self::start_at(Place { addr, tls: None }, router, faults, refuses)
    }

    /// The same anywhere; port 0 lets the system choose.
    pub(crate) fn start_at(
        place: Place,
        router: Router,
        faults: &Faults,
        refuses: Refuses,
    ) -> io::Result<Self> {
        let listener = bind(place.addr)?.listen(BACKLOG)?;
        let scheme = match place.tls {
            Some(_) => "https",
            None => "http",
        };
        let addr = listener.local_addr()?;
        let stop = watch::Sender::new(false);
        let accepting = Accepting {
            addr,
            tls: place.tls,
            router,
            faults: faults.subscribe(),
            refuses,
            stop: stop.subscribe(),
            broken: watch::Sender::new(()),
            connections: JoinSet::new(),
        };
        let task = tokio::spawn(accepting.run(listener));
        Ok(Self {
            addr,
            scheme,
            stop,
            task,
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.addr)
    }

    /// Takes no more connections, ends the streams, lets other requests finish for a moment, and returns
    /// when nothing is left.
    pub(crate) async fn stop(mut self) {
        self.stop.send_replace(true);
        // Only a panic inside could make this fail, and then nothing is left either.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The connection that a request came on; in each request's extensions.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) peer: SocketAddr,
    reset: Arc<Reset>,
    stop: watch::Receiver<bool>,
}

#[derive(Debug, Default)]
struct Reset {
    wanted: AtomicBool,
    notify: Notify,
}

impl Connection {
    /// Breaks the connection with a reset. Whatever was being answered on it is dropped.
    pub(crate) fn reset(&self) {
        self.reset.wanted.store(true, Ordering::SeqCst);
        self.reset.notify.notify_one();
    }

    /// Returns when the server is stopping.
    pub(crate) async fn stopping(&mut self) {
        // An error says that the server is gone already.
        let _ = self.stop.wait_for(|stop| *stop).await;
    }
}

struct Accepting {
    addr: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: Router,
    faults: watch::Receiver<Arc<FaultSet>>,
    refuses: Refuses,
    stop: watch::Receiver<bool>,
    broken: watch::Sender<()>,
    connections: JoinSet<()>,
}

enum Port {
    Listening(TcpListener),
    Held(Option<TcpSocket>),
}

enum Event {
    Accepted(io::Result<(TcpStream, SocketAddr)>),
    Toggled,
}

impl Port {
    const fn listens(&self) -> bool {
        matches!(self, Self::Listening(_))
    }

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match self {
            Self::Listening(listener) => listener.accept().await,
            Self::Held(_) => std::future::pending().await,
        }
    }
}

impl Accepting {
    async fn run(mut self, listener: TcpListener) {
        let refuses = self.refuses;
        let mut port = Port::Listening(listener);
        loop {
            let event = tokio::select! {
                accepted = port.accept() => Event::Accepted(accepted),
                Some(_) = self.connections.join_next() => continue,
                Ok(_) = self.faults.wait_for(|f| refuses(f) == port.listens()) => Event::Toggled,
                _ = self.stop.wait_for(|stop| *stop) => break,
            };
            match event {
                Event::Accepted(Ok((socket, peer))) => self.serve(socket, peer),
                Event::Accepted(Err(error)) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(RETRY).await;
                }
                Event::Toggled => port = self.toggle(port).await,
            }
        }
        drop(port);
        while self.connections.join_next().await.is_some() {}
    }

    async fn toggle(&self, port: Port) -> Port {
        match port {
            Port::Listening(listener) => {
                drop(listener);
                self.broken.send_replace(());
                Port::Held(bind(self.addr).ok())
            }
            Port::Held(socket) => self.reopen(socket).await,
        }
    }

    async fn reopen(&self, held: Option<TcpSocket>) -> Port {
        let socket = match held {
            Some(socket) => Ok(socket),
            None => bind(self.addr),
        };
        match socket.and_then(|socket| socket.listen(BACKLOG)) {
            Ok(listener) => Port::Listening(listener),
            Err(error) => {
                tracing::warn!(%error, addr = %self.addr, "cannot listen again yet");
                tokio::time::sleep(RETRY).await;
                Port::Held(None)
            }
        }
    }

    fn serve(&mut self, socket: TcpStream, peer: SocketAddr) {
        // Without this a byte at a time would arrive in lumps.
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        let connection = Connection {
            peer,
            reset: Arc::default(),
            stop: self.stop.clone(),
        };
        let drive = Drive {
            router: self.router.clone(),
            faults: self.faults.clone(),
            refuses: self.refuses,
            broken: self.broken.subscribe(),
            connection,
        };
        self.connections.spawn(drive.run(socket, self.tls.clone()));
    }
}

fn bind(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

const BACKLOG: u32 = 1_024;
const RETRY: Duration = Duration::from_millis(20);
