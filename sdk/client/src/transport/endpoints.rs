//! Where the service is.

use std::net::IpAddr;

use url::{Host, Url};

use crate::error::BuildError;

/// A checked base URL: `https` (or `http` on loopback), with nothing in it but a place.
#[derive(Clone, Debug)]
pub(crate) struct Endpoints {
    base: Url,
}

impl Endpoints {
    pub(crate) fn parse(text: &str) -> Result<Self, BuildError> {
        let refuse = |reason| Err(BuildError::Url { reason });
        let Ok(mut base) = Url::parse(text.trim()) else {
            return refuse("it is not an absolute URL");
        };
        match base.scheme() {
            "https" => {}
            "http" if is_loopback(&base) => {}
            "http" => return refuse("it must be https, except on loopback"),
            _ => return refuse("its scheme is neither https nor http"),
        }
        if base.host().is_none() {
            return refuse("it has no host");
        }
        if !base.username().is_empty() || base.password().is_some() {
            return refuse("it must hold no user and no password");
        }
        if base.query().is_some() || base.fragment().is_some() {
            return refuse("it must hold no query and no fragment");
        }
        let path = base.path().trim_end_matches('/').to_owned();
        base.set_path(&path);
        Ok(Self { base })
    }

    /// A path of the contract, below the base path.
    pub(crate) fn at(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let base = self.base.path().trim_end_matches('/');
        url.set_path(&format!("{base}{path}"));
        url
    }

    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(&self.base)
    }

    /// The name to look up, where what it leads to must be this machine: without TLS there is no other
    /// check of who answers.
    pub(crate) fn loopback_name(&self) -> Option<&str> {
        if self.base.scheme() != "http" {
            return None;
        }
        self.base.domain()
    }

    /// Whether a URL of somebody else's, with or without a scheme, leads to this machine.
    pub(crate) fn is_on_loopback(text: &str) -> bool {
        let url = if text.contains("://") {
            Url::parse(text)
        } else {
            Url::parse(&format!("http://{text}"))
        };
        url.is_ok_and(|url| is_loopback(&url))
    }

    /// Whether what is sent there can be read on the way.
    pub(crate) fn is_plain(&self) -> bool {
        self.base.scheme() == "http"
    }

    pub(crate) fn as_str(&self) -> &str {
        self.base.as_str()
    }
}

pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).to_canonical().is_loopback(),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_is_needed_except_on_loopback() {
        for fine in [
            "https://sync.example.com",
            "https://sync.example.com:8443/base/",
            "http://127.0.0.1:8787",
            "http://[::1]:1",
            "http://localhost:80",
            "http://edge.localhost",
            "http://localhost.",
            "HTTP://LOCALHOST",
            "http://[::ffff:127.0.0.1]",
            "https://b\u{fc}cher.example",
        ] {
            assert!(Endpoints::parse(fine).is_ok(), "{fine}");
        }
        for refused in [
            "http://example.com",
            "http://127.0.0.1.example.com",
            "http://localhost.example.com",
            "http://0.0.0.0",
            "http://10.0.0.1",
            "ftp://example.com",
            "https://me@example.com",
            "https://me:pw@example.com",
            "https://example.com?x=1",
            "https://example.com#x",
            "https://example.com?",
            "https://example.com#",
            "http://localhost@example.com",
            "http://127.0.0.1@10.0.0.1",
            "http://notlocalhost",
            "http://[::2]",
            "https://",
            "example.com",
            "",
        ] {
            assert!(Endpoints::parse(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_base_path_is_kept() {
        for (base, url) in [
            ("https://h", "https://h/api/v2/events"),
            ("https://h/", "https://h/api/v2/events"),
            ("https://h/a/b/", "https://h/a/b/api/v2/events"),
        ] {
            let at = Endpoints::parse(base).unwrap().at("/api/v2/events");
            assert_eq!(at.as_str(), url);
        }
    }
}
