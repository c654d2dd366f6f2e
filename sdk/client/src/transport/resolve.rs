//! The seam for an app's own DNS resolver.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use crate::guard::caught;

/// What a resolver returns.
pub type ResolverFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, Box<dyn Error + Send + Sync>>> + Send + 'a>>;

/// Finds the addresses of a host, in the order in which they are to be tried. Without one, the
/// system's is used. For a service on loopback without TLS only addresses of loopback are taken.
pub trait Resolver: Send + Sync + 'static {
    /// The addresses of `host`. An error, a panic or an empty list counts as `dns_failed`.
    fn resolve<'a>(&'a self, host: &'a str) -> ResolverFuture<'a>;
}

#[derive(Clone)]
pub(crate) struct Adapter {
    resolver: Arc<dyn Resolver>,
    /// What is not this machine is no answer.
    loopback_only: bool,
}

impl Adapter {
    pub(crate) fn new(resolver: Arc<dyn Resolver>) -> Self {
        Self {
            resolver,
            loopback_only: false,
        }
    }

    pub(super) fn loopback_only(self) -> Self {
        Self {
            loopback_only: true,
            ..self
        }
    }
}

impl reqwest::dns::Resolve for Adapter {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let (resolver, loopback_only) = (Arc::clone(&self.resolver), self.loopback_only);
        Box::pin(async move {
            let asked = caught(async { resolver.resolve(name.as_str()).await }).await;
            let mut addresses = asked.unwrap_or_else(|_| Err("the resolver panicked".into()))?;
            addresses.retain(|ip| !loopback_only || ip.to_canonical().is_loopback());
            if addresses.is_empty() {
                let none = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
                return Err(none.into());
            }
            let addresses = addresses.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(addresses) as reqwest::dns::Addrs)
        })
    }
}

impl fmt::Debug for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Adapter")
    }
}
