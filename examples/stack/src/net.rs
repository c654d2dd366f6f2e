//! Listening, and breaking connections in the ways that real ones break.
//!
//! A server that "refuses" has really closed its listener. Its port stays bound, without listening, so
//! that no outgoing connection of this machine can take it meanwhile.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tower_service::Service;

use crate::faults::{FaultSet, Faults};

/// A port that serves a router until it is stopped or dropped.
#[derive(Debug)]
pub(crate) struct Server {
    addr: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
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
        let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = bind(wanted)?.listen(BACKLOG)?;
        let addr = listener.local_addr()?;
        let stop = watch::Sender::new(false);
        let accepting = Accepting {
            addr,
            router,
            faults: faults.subscribe(),
            refuses,
            stop: stop.subscribe(),
            broken: watch::Sender::new(()),
            connections: JoinSet::new(),
        };
        let task = tokio::spawn(accepting.run(listener));
        Ok(Self { addr, stop, task })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
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
        self.connections.spawn(drive.run(socket));
    }
}

/// One connection.
struct Drive {
    router: Router,
    faults: watch::Receiver<Arc<FaultSet>>,
    refuses: Refuses,
    broken: watch::Receiver<()>,
    connection: Connection,
}

impl Drive {
    async fn run(mut self, stream: TcpStream) {
        let reset = Arc::clone(&self.connection.reset);
        let socket = Socket {
            stream,
            reset: Arc::clone(&reset),
        };
        let given = self.connection.clone();
        let service = service_fn(move |mut request: http::Request<Incoming>| {
            // The listener closes a moment after the fault is switched on; nothing that arrives in
            // between may be answered.
            let refused = (self.refuses)(&self.faults.borrow());
            let connection = given.clone();
            request.extensions_mut().insert(given.clone());
            let answer = self.router.clone().call(request);
            async move {
                if refused {
                    connection.reset();
                    std::future::pending::<()>().await;
                }
                answer.await
            }
        });
        let io = TokioIo::new(socket);
        let mut serving = pin!(http1::Builder::new().serve_connection(io, service));
        tokio::select! {
            served = &mut serving => {
                if let Err(error) = served {
                    tracing::debug!(%error, "connection ended");
                }
            }
            () = reset.notify.notified() => {}
            _ = self.broken.changed() => reset.wanted.store(true, Ordering::SeqCst),
            () = self.connection.stopping() => {
                serving.as_mut().graceful_shutdown();
                // What is not finished by then is dropped, and its connection closed.
                let _ = tokio::time::timeout(GRACE, serving).await;
            }
        }
    }
}

/// A socket that can be closed with a reset instead of in good order.
#[derive(Debug)]
struct Socket {
    stream: TcpStream,
    reset: Arc<Reset>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.reset.wanted.load(Ordering::SeqCst) {
            // Already closed by the other side: then there is nothing to reset.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn bind(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

const BACKLOG: u32 = 1_024;
const RETRY: Duration = Duration::from_millis(20);
const GRACE: Duration = Duration::from_millis(500);
