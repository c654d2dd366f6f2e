//! The way to a target: DNS, TCP, TLS, each by itself, each timed, each bounded.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use serde::{Serialize, Serializer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use super::{Kind, Phase, Target, Tls, Trouble, Validity, ms};

/// How far a call came, and how long each part of it took, in milliseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Way {
    pub(crate) address: Option<SocketAddr>,
    #[serde(rename = "dns_ms", serialize_with = "as_ms")]
    pub(crate) dns: Option<Duration>,
    #[serde(rename = "connect_ms", serialize_with = "as_ms")]
    pub(crate) connect: Option<Duration>,
    #[serde(rename = "tls_ms", serialize_with = "as_ms")]
    pub(crate) tls: Option<Duration>,
    /// Until the answer's headers.
    #[serde(rename = "http_ms", serialize_with = "as_ms")]
    pub(crate) http: Option<Duration>,
    pub(crate) certificate: Option<Validity>,
}

impl Way {
    /// `DNS 1.2 ms, TCP 0.3 ms, …` as far as it came.
    pub(crate) fn words(&self) -> String {
        let parts = [
            ("DNS", self.dns),
            ("TCP", self.connect),
            ("TLS", self.tls),
            ("HTTP", self.http),
        ];
        let parts = parts
            .iter()
            .filter_map(|(name, took)| Some(format!("{name} {} ms", ms((*took)?))));
        parts.collect::<Vec<_>>().join(", ")
    }
}

/// Something that HTTP can be spoken over.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Wire for T {}

/// Goes the whole way; `way` says how far it came when it did not.
pub(super) async fn connect(
    target: &Target,
    tls: &Tls,
    until: Instant,
    way: &mut Way,
) -> Result<Pin<Box<dyn Wire>>, Trouble> {
    let addresses = resolve(target, until, way).await?;
    let stream = dial(&addresses, until, way).await?;
    if !target.tls {
        return Ok(Box::pin(stream));
    }
    let (config, seen) = tls.config().map_err(|e| failed(Phase::Tls, &e))?;
    let name = ServerName::try_from(target.host.clone()).map_err(|e| failed(Phase::Tls, &e))?;
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let begun = Instant::now();
    let done = within(until, PHASE_MAX, Phase::Tls, handshake).await;
    way.certificate = seen.validity();
    let stream = done?.map_err(|error| tls_trouble(&error))?;
    way.tls = Some(begun.elapsed());
    Ok(Box::pin(stream))
}

async fn resolve(
    target: &Target,
    until: Instant,
    way: &mut Way,
) -> Result<Vec<SocketAddr>, Trouble> {
    let begun = Instant::now();
    let asked = lookup_host((target.host.as_str(), target.port));
    let found = within(until, PHASE_MAX, Phase::Dns, asked).await?;
    let mut addresses: Vec<_> = found.map_err(|e| failed(Phase::Dns, &e))?.collect();
    way.dns = Some(begun.elapsed());
    addresses.dedup();
    addresses.truncate(ADDRESSES_MAX);
    if addresses.is_empty() {
        let none = "the host has no address";
        return Err(Trouble::new(Phase::Dns, Kind::Failed, none));
    }
    Ok(addresses)
}

async fn dial(
    addresses: &[SocketAddr],
    until: Instant,
    way: &mut Way,
) -> Result<TcpStream, Trouble> {
    // One address that swallows everything must not use up the time of the others.
    let each = PHASE_MAX / u32::try_from(addresses.len()).unwrap_or(1).max(1);
    let begun = Instant::now();
    let mut last = Trouble::new(Phase::Connect, Kind::Failed, "no address");
    for address in addresses {
        way.address = Some(*address);
        match within(until, each, Phase::Connect, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                way.connect = Some(begun.elapsed());
                // What is lost without it is only time.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => {
                let message = format!("{address}: {error}");
                last = Trouble::new(Phase::Connect, Kind::Failed, message);
            }
            Err(late) => last = late,
        }
    }
    Err(last)
}

/// The result, or that it took too long.
pub(super) async fn within<T>(
    until: Instant,
    most: Duration,
    phase: Phase,
    work: impl Future<Output = T>,
) -> Result<T, Trouble> {
    let begun = Instant::now();
    let done = timeout_at(until, timeout(most, work)).await;
    done.ok().and_then(Result::ok).ok_or_else(|| {
        let message = format!("no answer within {:.1} s", begun.elapsed().as_secs_f64());
        Trouble::new(phase, Kind::TimedOut, message)
    })
}

fn failed(phase: Phase, error: &dyn std::error::Error) -> Trouble {
    Trouble::new(phase, Kind::Failed, crate::stack::chain(error))
}

fn tls_trouble(error: &std::io::Error) -> Trouble {
    let inner = error.get_ref().and_then(|e| e.downcast_ref());
    let kind = match inner {
        Some(rustls::Error::InvalidCertificate(_)) => Kind::Certificate,
        _ => Kind::Failed,
    };
    Trouble::new(Phase::Tls, kind, error.to_string())
}

fn as_ms<S: Serializer>(took: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    took.map(ms).serialize(serializer)
}

/// The longest for DNS, for TCP and for TLS.
const PHASE_MAX: Duration = Duration::from_secs(5);
const ADDRESSES_MAX: usize = 4;
