//! One connection from its first byte to its last: TLS where the port has it, then HTTP in either version.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::rt::{Executor, Read, Write};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulConnection;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

use super::socket::Socket;
use super::{Connection, Refuses};
use crate::faults::FaultSet;

pub(super) struct Drive {
    pub(super) router: Router,
    pub(super) faults: watch::Receiver<Arc<FaultSet>>,
    pub(super) refuses: Refuses,
    pub(super) broken: watch::Receiver<()>,
    pub(super) connection: Connection,
}

impl Drive {
    pub(super) async fn run(mut self, stream: TcpStream, tls: Option<TlsAcceptor>) {
        let reset = Arc::clone(&self.connection.reset);
        let socket = Socket { stream, reset };
        let Some(tls) = tls else {
            return self.serve(TokioIo::new(socket), false).await;
        };
        let mut handshake = pin!(timeout(HANDSHAKE_MAX, tls.accept(socket)));
        let done = tokio::select! {
            done = &mut handshake => done,
            _ = self.broken.changed() => {
                self.connection.reset.wanted.store(true, Ordering::SeqCst);
                return;
            }
            () = self.connection.stopping() => return,
        };
        match done {
            Ok(Ok(socket)) => {
                let http2 = socket.get_ref().1.alpn_protocol() == Some(b"h2");
                self.serve(TokioIo::new(socket), http2).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, "no TLS handshake"),
            Err(_) => tracing::debug!("no TLS handshake in time"),
        }
    }

    async fn serve(self, io: impl Read + Write + Unpin + Send + 'static, http2: bool) {
        let (router, given) = (self.router.clone(), self.connection.clone());
        let (faults, refuses) = (self.faults.clone(), self.refuses);
        let service = service_fn(move |mut request: http::Request<Incoming>| {
            // The listener closes a moment after the fault is switched on; nothing that arrives in
            // between may be answered.
            let refused = refuses(&faults.borrow());
            let connection = given.clone();
            request.extensions_mut().insert(given.clone());
            let answer = router.clone().call(request);
            async move {
                if refused {
                    connection.reset();
                    std::future::pending::<()>().await;
                }
                answer.await
            }
        });
        if http2 {
            let tasks = Tasks::default();
            let builder = http2::Builder::new(tasks.clone());
            self.until_end(builder.serve_connection(io, service)).await;
            tasks.end().await;
        } else {
            let builder = http1::Builder::new();
            self.until_end(builder.serve_connection(io, service)).await;
        }
    }

    async fn until_end<C>(mut self, serving: C)
    where
        C: GracefulConnection<Error = hyper::Error>,
    {
        let reset = Arc::clone(&self.connection.reset);
        let mut serving = pin!(serving);
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
                let _ = timeout(GRACE, serving).await;
            }
        }
    }
}

/// The requests under way on one connection of HTTP/2; they end with it.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl<F> Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }
}

impl Tasks {
    async fn end(&self) {
        let left = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut left = left;
        left.shutdown().await;
    }
}

const GRACE: Duration = Duration::from_millis(500);
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
