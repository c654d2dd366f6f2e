//! Where something is asked.

use std::fmt;

use url::{Host, Url};

use crate::exit::Failed;

/// A place that speaks HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) tls: bool,
    /// As the resolver and a certificate know it.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Without a slash at its end.
    base: String,
    authority: String,
}

impl Target {
    /// The edge: credentials go there, so it is https, or http on loopback.
    pub(crate) fn edge(url: &str) -> Result<Self, Failed> {
        let target = Self::read(url, "--edge (or EVENKEEL_EDGE)")?;
        if !target.tls && !target.is_loopback() {
            return Err(Failed::configuration(
                "--edge (or EVENKEEL_EDGE): plain http is for loopback only; use https",
            ));
        }
        Ok(target)
    }

    /// The origin: no credentials go there, so plain http is good enough.
    pub(crate) fn origin(url: &str) -> Result<Self, Failed> {
        Self::read(url, "--origin (or EVENKEEL_ORIGIN)")
    }

    fn read(url: &str, option: &str) -> Result<Self, Failed> {
        let wrong = |why: &str| Failed::configuration(format!("{option}: {why}"));
        let url = Url::parse(url).map_err(|e| wrong(&format!("not a URL: {e}")))?;
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(wrong("the URL must begin with https:// or http://")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("the URL must not hold a user or a password"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("the URL must end with its path"));
        }
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(wrong("the URL names no host"));
        };
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        };
        let host = match host {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(ip) => ip.to_string(),
            Host::Ipv6(ip) => ip.to_string(),
        };
        Ok(Self {
            tls,
            host,
            port,
            base: url.path().trim_end_matches('/').to_owned(),
            authority,
        })
    }

    /// What the `Host` header says.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    pub(crate) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Whether the name stands for this machine; what it resolves to is looked at besides.
    fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host.ends_with(".localhost")
            || self
                .host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.to_canonical().is_loopback())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_from_its_url() {
        let target = Target::edge("https://[::1]:8443/sync/").unwrap();
        assert_eq!(
            (target.tls, target.host.as_str(), target.port),
            (true, "::1", 8443)
        );
        assert_eq!(target.authority(), "[::1]:8443");
        assert_eq!(target.path("/ready"), "/sync/ready");
        assert_eq!(target.to_string(), "https://[::1]:8443/sync");
        assert_eq!(Target::edge("https://h").unwrap().authority(), "h");
    }

    #[test]
    fn tokens_go_nowhere_in_the_clear() {
        for url in ["http://example.com", "ftp://h", "https://u:p@h", "h"] {
            assert!(Target::edge(url).is_err(), "{url}");
        }
        assert!(Target::edge("http://127.0.0.1:1").is_ok());
        assert!(Target::origin("http://10.0.0.1:3000").is_ok());
    }
}
