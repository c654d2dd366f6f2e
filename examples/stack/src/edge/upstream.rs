//! One request to the origin, or to an AI provider.
//!
//! Each goes over a connection of its own: nothing is ever sent on a connection that died unnoticed, and
//! a connection that breaks is seen as broken.

use std::future::Future;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_TYPE, HOST};
use http::response::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::origins::Turn;
use crate::net::Connection;

/// A request that can be sent more than once.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// The origin's answer, and the connection that its body still comes through.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    connection: Alive,
}

impl Exchange {
    /// Sends it to whose turn it is, and returns once the answer's headers are there.
    pub(super) async fn send(&self, turn: &mut Turn<'_>) -> Result<Answer, std::io::Error> {
        let (stream, origin) = turn.connect().await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(std::io::Error::other)?;
        // Handed over before the connection can end: what is put in while it ends would never be answered.
        let response = sender.send_request(self.request(origin));
        let connection = Alive::keep(async move {
            // The body's reader sees the same error, and it is the one who can do something about it.
            let _ = connection.await;
        });
        let response = response.await.map_err(std::io::Error::other)?;
        Ok(Answer {
            response,
            connection,
        })
    }

    fn request(&self, origin: &Authority) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        let path = self.uri.path_and_query().cloned();
        *request.uri_mut() = path.map_or_else(Uri::default, Uri::from);
        *request.headers_mut() = self.headers.clone();
        if let Ok(host) = HeaderValue::try_from(origin.as_str()) {
            request.headers_mut().insert(HOST, host);
        }
        request
    }
}

impl Answer {
    /// The answer for the edge itself to read, with what keeps its connection open.
    pub(super) fn into_parts(self) -> (Parts, Incoming, Alive) {
        let (head, body) = self.response.into_parts();
        (head, body, self.connection)
    }

    /// Hands the answer on as it arrives. If the origin's body breaks, so does this one; an endless one
    /// ends with the edge's instance.
    pub(super) fn hand_on(
        self,
        client: Connection,
        instance: watch::Receiver<()>,
    ) -> Response<Body> {
        let (mut head, body) = self.response.into_parts();
        for name in HOP_BY_HOP {
            head.headers.remove(name);
        }
        let endless = head.headers.get(CONTENT_TYPE);
        let endless = endless.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        let state = Relay {
            body,
            client,
            instance,
            endless,
            _connection: self.connection,
        };
        let body = Body::from_stream(stream::unfold(state, Relay::next));
        Response::from_parts(head, body)
    }
}

struct Relay {
    body: Incoming,
    client: Connection,
    instance: watch::Receiver<()>,
    endless: bool,
    _connection: Alive,
}

impl Relay {
    async fn next(mut self) -> Option<(Result<Bytes, hyper::Error>, Self)> {
        loop {
            let frame = tokio::select! {
                frame = self.body.frame() => frame?,
                () = self.client.stopping(), if self.endless => return None,
                _ = self.instance.changed(), if self.endless => return None,
            };
            match frame.map(http_body::Frame::into_data) {
                Ok(Ok(data)) => return Some((Ok(data), self)),
                // Trailers: the contract has none.
                Ok(Err(_)) => {}
                Err(error) => return Some((Err(error), self)),
            }
        }
    }
}

/// Which headers of a request go on to the origin.
pub(super) fn allowed(headers: &HeaderMap, with_cookie: bool) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for (name, value) in headers {
        let allowed = FORWARDED.contains(&name.as_str()) || with_cookie && name == "cookie";
        if allowed {
            kept.append(HeaderName::clone(name), value.clone());
        }
    }
    kept
}

/// A task that ends with its owner.
#[derive(Debug)]
pub(super) struct Alive(JoinHandle<()>);

impl Alive {
    fn keep(task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(task))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.abort();
    }
}

const FORWARDED: [&str; 6] = [
    "authorization",
    "x-request-id",
    "x-device-id",
    "content-type",
    "accept",
    "cache-control",
];

const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
