//! One request on a connection of its own, with a bound on time and on bytes.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use evenkeel::Secret;
use evenkeel_proto::wire::path::DEVICE_ID_HEADER;

use super::connect::{Way, connect, within};
use super::{Kind, Phase, Probe, Target, Tls, Trouble};

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
    time_max: Duration,
    secrets: Vec<Secret>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// Not more than the bound, and without the secrets that were sent.
    pub(crate) body: Vec<u8>,
    /// Whether that is all there was.
    pub(crate) whole: bool,
}

impl Request {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            time_max: TIME_MAX,
            secrets: Vec::new(),
        }
    }

    pub(crate) fn post(path: impl Into<String>) -> Self {
        Self {
            method: Method::POST,
            ..Self::get(path)
        }
    }

    pub(crate) fn json(mut self, body: String) -> Self {
        self.headers.insert(CONTENT_TYPE, APPLICATION_JSON);
        self.body = body.into();
        self
    }

    pub(crate) fn within(mut self, time_max: Duration) -> Self {
        self.time_max = time_max;
        self
    }

    /// A header that nobody may see; the secret in it is taken out of what comes back.
    pub(crate) fn secret(mut self, name: HeaderName, text: &str, secret: &Secret) -> Self {
        // A secret that cannot stand in a header was refused when it was read.
        if let Ok(mut value) = HeaderValue::try_from(text) {
            value.set_sensitive(true);
            self.headers.insert(name, value);
        }
        self.secrets.push(secret.clone());
        self
    }

    /// A secret that is part of the path.
    pub(crate) fn hiding(mut self, secret: &Secret) -> Self {
        self.secrets.push(secret.clone());
        self
    }

    pub(crate) fn accepting(mut self, kind: &'static str) -> Self {
        self.headers.insert(ACCEPT, HeaderValue::from_static(kind));
        self
    }

    /// As the user and the device of this probe.
    pub(crate) fn of(mut self, probe: &Probe) -> Self {
        if let Ok(device) = HeaderValue::try_from(&probe.device) {
            self.headers.insert(DEVICE_ID_HEADER, device);
        }
        match &probe.token {
            Some(token) => {
                let text = format!("Bearer {}", token.expose());
                self.secret(AUTHORIZATION, &text, token)
            }
            None => self,
        }
    }

    /// The whole exchange, however it goes.
    pub(crate) async fn send(
        self,
        target: &Target,
        tls: &Tls,
        body_bytes_max: usize,
        way: &mut Way,
    ) -> Result<Answer, Trouble> {
        let until = Instant::now() + self.time_max;
        let mut connection = open(target, tls, until, way).await?;
        let sent = connection.send(self, target, until, way).await?;
        sent.read(body_bytes_max, until).await
    }

    fn build(&self, target: &Target) -> Result<http::Request<Full<Bytes>>, Trouble> {
        let unusable = |why: String| Trouble::new(Phase::Http, Kind::Failed, why);
        let mut request = http::Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = target
            .path(&self.path)
            .parse()
            .map_err(|e: http::uri::InvalidUri| unusable(e.to_string()))?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, APPLICATION_JSON);
        headers.insert(USER_AGENT, HeaderValue::from_static(crate::USER_AGENT));
        headers.extend(self.headers.clone());
        let host = HeaderValue::try_from(target.authority());
        headers.insert(HOST, host.map_err(|e| unusable(e.to_string()))?);
        Ok(request)
    }
}

/// A connection that requests can be sent on, one after the other.
pub(crate) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    _alive: Alive,
}

/// Goes the whole way to the target. For a target without TLS that is on loopback by its name, its
/// address has to be too: nobody's resolver sends a token into the network.
pub(crate) async fn open(
    target: &Target,
    tls: &Tls,
    until: Instant,
    way: &mut Way,
) -> Result<Connection, Trouble> {
    let wire = connect(target, tls, until, way).await?;
    let greeting = http1::handshake(TokioIo::new(wire));
    let greeting = within(until, TIME_MAX, Phase::Http, greeting).await?;
    let (sender, connection) = greeting.map_err(|e| http_trouble(&e))?;
    let alive = Alive(tokio::spawn(async move {
        // Whoever waits for an answer is told the same.
        let _ = connection.await;
    }));
    Ok(Connection {
        sender,
        _alive: alive,
    })
}

impl Connection {
    /// Sends a request and waits for the answer's headers.
    pub(crate) async fn send(
        &mut self,
        request: Request,
        target: &Target,
        until: Instant,
        way: &mut Way,
    ) -> Result<Sent<'_>, Trouble> {
        let built = request.build(target)?;
        if !target.tls && !request.secrets.is_empty() {
            let local = way
                .address
                .is_some_and(|a| a.ip().to_canonical().is_loopback());
            if !local {
                let message = "the name of loopback leads elsewhere; nothing was sent";
                return Err(Trouble::new(Phase::Connect, Kind::Failed, message));
            }
        }
        let begun = Instant::now();
        let exchange = async {
            self.sender.ready().await?;
            self.sender.send_request(built).await
        };
        let answer = within(until, request.time_max, Phase::Http, exchange).await?;
        let response = answer.map_err(|e| http_trouble(&e))?;
        way.http = Some(begun.elapsed());
        let (head, body) = response.into_parts();
        Ok(Sent {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
            secrets: request.secrets,
            _connection: std::marker::PhantomData,
        })
    }
}

/// An answer whose body is still to come.
pub(crate) struct Sent<'c> {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Incoming,
    secrets: Vec<Secret>,
    /// The body comes through it.
    _connection: std::marker::PhantomData<&'c mut Connection>,
}

impl Sent<'_> {
    /// Reads until the end or the bound; what is beyond is left where it is.
    pub(crate) async fn read(
        mut self,
        bytes_max: usize,
        until: Instant,
    ) -> Result<Answer, Trouble> {
        let mut body = Vec::new();
        let mut whole = true;
        let reading = async {
            while let Some(frame) = self.body.frame().await {
                let Ok(data) = frame?.into_data() else {
                    continue;
                };
                let room = bytes_max - body.len();
                body.extend_from_slice(&data[..data.len().min(room)]);
                if data.len() > room {
                    whole = false;
                    break;
                }
            }
            Ok::<_, hyper::Error>(())
        };
        let read = within(until, BODY_TIME_MAX, Phase::Body, reading).await?;
        read.map_err(|e| Trouble::new(Phase::Body, Kind::Failed, crate::stack::chain(&e)))?;
        for secret in &self.secrets {
            body = without(body, secret.expose().as_bytes());
        }
        Ok(Answer {
            status: self.status,
            headers: self.headers,
            body,
            whole,
        })
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Result<serde_json::Value, Trouble> {
        if (300..400).contains(&self.status) {
            return Err(Trouble::not_the_service(format!(
                "{} redirects elsewhere",
                self.status
            )));
        }
        if !self.whole {
            return Err(Trouble::not_the_service(format!(
                "{} with more than {} bytes",
                self.status,
                self.body.len()
            )));
        }
        serde_json::from_slice(&self.body).map_err(|_| Trouble::not_the_service(self.unreadable()))
    }

    /// What stands in the place of JSON.
    pub(crate) fn unreadable(&self) -> String {
        let begin = self.body.trim_ascii_start();
        let what = if begin.is_empty() {
            "nothing in it"
        } else if begin.starts_with(b"<") {
            "a page of HTML"
        } else {
            "something that is not JSON"
        };
        format!("{} with {what}", self.status)
    }
}

fn http_trouble(error: &hyper::Error) -> Trouble {
    let kind = match error.is_parse() {
        true => Kind::NotTheService,
        false => Kind::Failed,
    };
    Trouble::new(Phase::Http, kind, crate::stack::chain(error))
}

/// The bytes with `***` wherever the secret stood.
fn without(bytes: Vec<u8>, secret: &[u8]) -> Vec<u8> {
    if secret.is_empty() || secret.len() > bytes.len() {
        return bytes;
    }
    let mut clean = Vec::with_capacity(bytes.len());
    let mut rest = &bytes[..];
    while let Some((&first, tail)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(secret) {
            clean.extend_from_slice(b"***");
            rest = after;
        } else {
            clean.push(first);
            rest = tail;
        }
    }
    clean
}

/// A task that ends with its owner.
struct Alive(JoinHandle<()>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.abort();
    }
}

const APPLICATION_JSON: HeaderValue = HeaderValue::from_static("application/json");
const TIME_MAX: Duration = Duration::from_secs(10);
const BODY_TIME_MAX: Duration = Duration::from_secs(10);
