//! Requests and answers: everything that touches a socket.

mod ai;
mod body;
mod classify;
mod endpoints;
mod resolve;
mod scrub;
mod spool;
mod stream;
mod ticket;
mod tls;

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use evenkeel_proto::failure::Request;
use evenkeel_proto::wire::{
    DeviceList, Listing, PushAnswer, PushRequest, RevokeAnswer, Secret, path,
};
use evenkeel_proto::{Cause, Failure};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::de::DeserializeOwned;
use url::Url;
use uuid::Uuid;

pub use resolve::{Resolver, ResolverFuture};

pub(crate) use ai::AiRequest;
pub(crate) use resolve::Adapter;

pub(crate) use body::{HEAD_BYTES, TREE_BYTES_MAX, unfolds, unreadable};
pub(crate) use endpoints::Endpoints;
pub(crate) use spool::Spool;
pub(crate) use stream::{OpenStream, StreamItem};
pub(crate) use ticket::Ticket;
pub(crate) use tls::{certificates, tls_config};

use self::classify::classify;
use crate::error::BuildError;
use crate::guard::locked;
use crate::replica::{Body, PageBody, SnapshotBody};
use crate::settings::{Limits, ProxySetting, TicketCarrier, Timeouts};

/// One deployment of the service, and how to speak with it.
pub(crate) struct Transport {
    endpoints: Endpoints,
    recipe: Recipe,
    limits: Limits,
    timeouts: Timeouts,
    carrier: TicketCarrier,
    device_id: HeaderValue,
    client: Mutex<reqwest::Client>,
}

/// What an HTTP client is made from, more than once.
#[derive(Clone)]
pub(crate) struct Recipe {
    pub(crate) tls: rustls::ClientConfig,
    pub(crate) user_agent: HeaderValue,
    pub(crate) connect_timeout: Duration,
    pub(crate) proxy: ProxySetting,
    pub(crate) resolver: Option<resolve::Adapter>,
}

/// A whole answer. Not to be printed: a ticket can be in it.
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Transport {
    pub(crate) fn new(
        endpoints: Endpoints,
        recipe: Recipe,
        limits: Limits,
        timeouts: Timeouts,
        carrier: TicketCarrier,
        device_id: Uuid,
    ) -> Result<Self, BuildError> {
        let device_id =
            HeaderValue::try_from(device_id.to_string()).map_err(|_| BuildError::DeviceId)?;
        let client = recipe.client(&endpoints)?;
        Ok(Self {
            endpoints,
            recipe,
            limits,
            timeouts,
            carrier,
            device_id,
            client: Mutex::new(client),
        })
    }

    /// The same place and manners with connections of its own: what happens to these is no matter to
    /// the others.
    pub(crate) fn sibling(&self) -> Result<Self, BuildError> {
        Ok(Self {
            endpoints: self.endpoints.clone(),
            recipe: self.recipe.clone(),
            limits: self.limits.clone(),
            timeouts: self.timeouts.clone(),
            carrier: self.carrier,
            device_id: self.device_id.clone(),
            client: Mutex::new(self.recipe.client(&self.endpoints)?),
        })
    }

    /// Drops all pooled connections: after a change of network, or a request that was given up, they
    /// may be dead without anybody having said so, and over HTTP/2 all requests share one.
    pub(crate) fn renew(&self) {
        match self.recipe.client(&self.endpoints) {
            Ok(client) => *locked(&self.client) = client,
            Err(error) => {
                tracing::warn!(target: "evenkeel", %error, "old connections are kept");
            }
        }
    }

    pub(crate) async fn ticket(&self, token: &Secret) -> Result<(Ticket, Duration), Failure> {
        let bound = self.timeouts.stream_headers + MARGIN;
        within(bound, async {
            let request = self.request(Method::POST, self.endpoints.at(path::TICKET));
            let request = request.header(AUTHORIZATION, bearer(token)?);
            let limit = self.limits.small_bytes_max;
            let answer = self
                .exchange(Request::Ticket, token, request, limit)
                .await?;
            ticket::read(&answer, self.carrier)
        })
        .await
    }

    pub(crate) async fn open_stream(&self, ticket: Ticket) -> Result<OpenStream, Failure> {
        let bound = self.timeouts.stream_headers + MARGIN;
        within(bound, async {
            let url = self.endpoints.at(path::EVENTS);
            let secret = ticket.secret().clone();
            let (url, cookie) = ticket.attach(url)?;
            let mut request = self
                .request(Method::GET, url)
                .header(ACCEPT, HeaderValue::from_static("text/event-stream"))
                .header("cache-control", HeaderValue::from_static("no-cache"));
            if let Some(cookie) = cookie {
                request = request.header("cookie", cookie);
            }
            let response = self.send(request).await?;
            stream::accept(response, &secret, &self.limits).await
        })
        .await
    }

    pub(crate) async fn pull(
        &self,
        token: &Secret,
        from: u64,
        spool: Spool,
    ) -> Result<PageBody, Failure> {
        let mut url = self.endpoints.at(path::PULL);
        url.query_pairs_mut()
            .append_pair("cursor", &from.to_string());
        let limit = self.limits.pull_bytes_max;
        let body = self.read(Request::Pull, token, url, limit, spool).await;
        body.map(PageBody::new)
    }

    pub(crate) async fn snapshot(
        &self,
        token: &Secret,
        spool: Spool,
    ) -> Result<SnapshotBody, Failure> {
        let mut url = self.endpoints.at(path::NOTES);
        // Tombstones too: a later page may repeat a change from before a deletion.
        url.query_pairs_mut().append_pair("includeDeleted", "true");
        let limit = self.limits.snapshot_bytes_max;
        let body = self.read(Request::Snapshot, token, url, limit, spool).await;
        body.map(SnapshotBody)
    }

    pub(crate) async fn push(
        &self,
        token: &Secret,
        batch: &PushRequest,
    ) -> Result<PushAnswer, Failure> {
        within(self.timeouts.data + MARGIN, async {
            let body = serde_json::to_vec(batch)
                .map_err(|e| Failure::local(Cause::StoreFailed, e.to_string()))?;
            let request = self
                .request(Method::POST, self.endpoints.at(path::PUSH))
                .header(AUTHORIZATION, bearer(token)?)
                .header(CONTENT_TYPE, HeaderValue::from_static(JSON))
                .body(body);
            let limit = self.limits.push_answer_bytes_max;
            let answer = self.exchange(Request::Push, token, request, limit).await?;
            body::parse(Request::Push, answer).await
        })
        .await
    }

    pub(crate) async fn devices(&self, token: &Secret) -> Result<DeviceList, Failure> {
        let url = self.endpoints.at(path::DEVICES);
        self.small(token, Method::GET, url).await
    }

    pub(crate) async fn revoke_device(
        &self,
        token: &Secret,
        id: &str,
    ) -> Result<RevokeAnswer, Failure> {
        let mut url = self.endpoints.at(path::DEVICES);
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.extend([id, "revoke"]);
        }
        self.small(token, Method::POST, url).await
    }

    /// A request of the app's own, with a small answer.
    async fn small<T: DeserializeOwned + Send + 'static>(
        &self,
        token: &Secret,
        method: Method,
        url: Url,
    ) -> Result<T, Failure> {
        within(self.timeouts.data, async {
            let request = self.request(method, url);
            let request = request.header(AUTHORIZATION, bearer(token)?);
            let answer = self
                .exchange(Request::Other, token, request, LIST_BYTES_MAX)
                .await?;
            body::parse(Request::Other, answer).await
        })
        .await
    }

    /// A large answer: it comes as a whole, but is not looked at yet.
    async fn read<W: Listing + Send + 'static>(
        &self,
        kind: Request,
        token: &Secret,
        url: Url,
        bytes_max: usize,
        spool: Spool,
    ) -> Result<Body<W>, Failure> {
        // It may take its time as long as it comes; dripping has an end.
        within(self.timeouts.data * SLOWNESS_MAX, async {
            let request = self
                .request(Method::GET, url)
                .header(AUTHORIZATION, bearer(token)?);
            let response = self.accepted(kind, token, request).await?;
            spool.receive(kind, response, bytes_max).await
        })
        .await
    }

    fn request(&self, method: Method, url: Url) -> reqwest::RequestBuilder {
        let client = locked(&self.client).clone();
        let request_id = Uuid::new_v4().to_string();
        tracing::debug!(target: "evenkeel", %method, path = url.path(), request_id, "request");
        client
            .request(method, url)
            .header(ACCEPT, HeaderValue::from_static(JSON))
            .header(DEVICE_ID, &self.device_id)
            .header(path::REQUEST_ID_HEADER, request_id)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response, Failure> {
        let response = request.send().await.map_err(|e| classify(&e))?;
        let http_status = response.status().as_u16();
        tracing::debug!(target: "evenkeel", http_status, "answer");
        Ok(response)
    }

    /// The whole answer if it is a 2xx within the limit; a failure otherwise.
    async fn exchange(
        &self,
        kind: Request,
        token: &Secret,
        request: reqwest::RequestBuilder,
        bytes_max: usize,
    ) -> Result<Answer, Failure> {
        let response = self.accepted(kind, token, request).await?;
        body::whole(response, bytes_max).await
    }

    /// The answer if it is a 2xx, its body still to come; a failure otherwise.
    async fn accepted(
        &self,
        kind: Request,
        token: &Secret,
        request: reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, Failure> {
        let response = self.send(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(body::refusal(kind, &[token], response, self.limits.small_bytes_max).await)
    }
}

impl Recipe {
    fn client(&self, endpoints: &Endpoints) -> Result<reqwest::Client, BuildError> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            .user_agent(self.user_agent.clone())
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            // Whether and when to try again is the engine's decision alone.
            .retry(reqwest::retry::never())
            .connect_timeout(self.connect_timeout)
            .tcp_keepalive(TCP_KEEPALIVE);
        builder = match &self.proxy {
            ProxySetting::Environment if !endpoints.is_loopback() => builder,
            ProxySetting::Environment | ProxySetting::None => builder.no_proxy(),
            ProxySetting::Url(url) => {
                if endpoints.is_plain() && !Endpoints::is_on_loopback(url) {
                    return Err(BuildError::ProxyElsewhere);
                }
                builder.proxy(reqwest::Proxy::all(url).map_err(|_| BuildError::Proxy)?)
            }
        };
        builder = match (&self.resolver, endpoints.loopback_name()) {
            (Some(resolver), None) => builder.dns_resolver(resolver.clone()),
            (Some(resolver), Some(_)) => builder.dns_resolver(resolver.clone().loopback_only()),
            // A resolver that knows no better asks the network for `*.localhost`.
            (None, Some(name)) => builder.resolve_to_addrs(name, &LOOPBACK),
            (None, None) => builder,
        };
        builder.build().map_err(|e| BuildError::Http {
            reason: classify::describe(&e),
        })
    }
}

/// The engine's watchdogs are sooner; this one holds even if the engine sleeps.
async fn within<T>(
    bound: Duration,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::time::timeout(bound, work).await.unwrap_or_else(|_| {
        Err(Failure::local(
            Cause::ResponseTimeout,
            "no complete answer in time",
        ))
    })
}

fn bearer(token: &Secret) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose())).map_err(|_| {
        let message = "the token given by the app cannot be sent in a header";
        Failure::local(Cause::TokenUnavailable, message)
    })?;
    value.set_sensitive(true);
    Ok(value)
}

const DEVICE_ID: HeaderName = HeaderName::from_static(path::DEVICE_ID_HEADER);
/// The port is the URL's.
const LOOPBACK: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0),
];
const JSON: &str = "application/json";
const MARGIN: Duration = Duration::from_secs(10);
/// An account keeps every device that it ever had.
const LIST_BYTES_MAX: usize = 4 << 20;
const SLOWNESS_MAX: u32 = 10;

/// Finds half-open connections that nobody writes to; the watchdogs find the rest.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
