//! The client and a service that speaks TLS under an authority of its own, as a process of its own.

#![allow(clippy::unwrap_used, reason = "a panic is a test's verdict")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use evenkeel::wire::AiProvider;
use evenkeel::{
    AiError, Cause, Layer, Resolver, ResolverFuture, Secret, Status, SyncClient, SyncClientBuilder,
    SyncState, Timeouts,
};
use evenkeel_e2e::proxy::{FaultProxy, Weather};
use evenkeel_e2e::{StackProcess, reach};
use rcgen::{CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use serde_json::Value;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

const BOUND: Duration = Duration::from_secs(60);

async fn service(folder: &Path, more: &[&str]) -> StackProcess {
    let folder = folder.to_str().unwrap();
    StackProcess::start(&[&["--tls-dir", folder], more].concat()).await
}

fn client(url: &str) -> SyncClientBuilder {
    let token = Secret::new("demo-token");
    SyncClient::builder(url).token(token).seed(7)
}

fn started(builder: SyncClientBuilder) -> SyncClient {
    let client = builder.build().unwrap();
    client.start().unwrap();
    client
}

fn synced(status: &Status) -> bool {
    status.state == SyncState::Synced
}

async fn fails_with(client: &SyncClient, cause: Cause) -> Status {
    let what = format!("degraded with {cause:?}");
    reach(client, &what, BOUND, |s| {
        s.state == SyncState::Degraded && s.cause == Some(cause)
    })
    .await;
    client.status()
}

/// The versions of HTTP in which requests have come to the edge.
async fn versions(service: &StackProcess) -> Vec<String> {
    let log: Value = serde_json::from_str(&service.control("GET", "/requests", "").await).unwrap();
    let all = log["requests"].as_array().unwrap().iter();
    let edge = all.filter(|record| record["part"] == "edge");
    let mut versions: Vec<_> = edge
        .map(|record| record["http_version"].as_str().unwrap().to_owned())
        .collect();
    versions.sort();
    versions.dedup();
    versions
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_trusts_its_root_syncs_over_both_versions_of_http() {
    let folder = tempfile::tempdir().unwrap();
    for (http2, expected) in [("http2=true", "2"), ("http2=false", "1.1")] {
        let service = service(folder.path(), &["--set", http2]).await;
        let url = service.said("edge");
        let client = started(client(url).extra_root_certificates(service.root()));
        reach(&client, "synced", BOUND, synced).await;
        assert_eq!(versions(&service).await, [expected]);

        // A deploy and an outage on the way: the same over TLS.
        service.control("POST", "/edge/restart", "").await;
        service.control("PUT", "/faults/edge_refuses", "true").await;
        fails_with(&client, Cause::ConnectFailed).await;
        service.control("POST", "/reset", "").await;
        reach(&client, "synced again", BOUND, synced).await;
        assert_eq!(versions(&service).await, [expected]);
        client.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_root_nothing_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let service = service(folder.path(), &[]).await;
    let client = started(client(service.said("edge")));
    let status = fails_with(&client, Cause::TlsFailed).await;
    assert_eq!(status.layer, Some(Layer::Edge));
    assert!(versions(&service).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ai_works_over_tls_and_only_with_whom_the_app_trusts() {
    let folder = tempfile::tempdir().unwrap();
    let service = service(folder.path(), &[]).await;
    let url = service.said("edge");
    let ai = client(url).extra_root_certificates(service.root());
    let ai = ai.build_ai().unwrap();
    ai.connect(AiProvider::Gemini, Secret::new("sk-7"))
        .await
        .unwrap();
    ai.analyze("todo: water").await.unwrap();
    assert_eq!(versions(&service).await, ["2"]);

    let stranger = client(url).build_ai().unwrap();
    let stranger = stranger.with_deadline(Duration::from_secs(5));
    let AiError::Failed { failure, .. } = stranger.analyze("todo: x").await.unwrap_err() else {
        panic!("not a failure");
    };
    assert_eq!(failure.cause, Cause::TlsFailed);
}

struct Here;

impl Resolver for Here {
    fn resolve<'a>(&'a self, _: &'a str) -> ResolverFuture<'a> {
        Box::pin(async { Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]) })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_for_another_name_is_typed_and_for_a_further_name_is_good() {
    let folder = tempfile::tempdir().unwrap();
    let service = service(folder.path(), &["--tls-name", "sync.example.com"]).await;
    let port = service.said("edge").rsplit_once(':').unwrap().1;
    let at = |name: &str| {
        let builder = client(&format!("https://{name}:{port}")).resolver(Here);
        started(builder.extra_root_certificates(service.root()))
    };
    let elsewhere = at("elsewhere.example.com");
    fails_with(&elsewhere, Cause::TlsFailed).await;
    assert!(versions(&service).await.is_empty());
    reach(&at("sync.example.com"), "synced", BOUND, synced).await;
}

/// TLS in front of a service, with a certificate that can be changed.
struct Front {
    url: String,
    root: String,
    issuer: Issuer<'static, KeyPair>,
    acceptor: watch::Sender<Option<TlsAcceptor>>,
}

impl Front {
    async fn before(service: SocketAddr) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().pem();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = watch::Sender::new(None::<TlsAcceptor>);
        let current = acceptor.subscribe();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Some(acceptor) = current.borrow().clone() else {
                    continue;
                };
                tokio::spawn(async move {
                    let mut client = acceptor.accept(client).await.ok()?;
                    let mut server = TcpStream::connect(service).await.ok()?;
                    copy_bidirectional(&mut client, &mut server).await.ok()
                });
            }
        });
        Self {
            url: format!("https://localhost:{port}"),
            root,
            issuer: Issuer::new(params, key),
            acceptor,
        }
    }

    fn show_one_until(&self, year: i32) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 12, 31);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            );
        let acceptor = Arc::new(config.unwrap()).into();
        self.acceptor.send_replace(Some(acceptor));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_certificate_is_typed_and_over_once_it_is_renewed() {
    let service = StackProcess::start(&["--set", "cookie_secure=true"]).await;
    let edge = service.said("edge").strip_prefix("http://").unwrap();
    let front = Front::before(edge.parse().unwrap()).await;
    front.show_one_until(2021);
    let client = started(client(&front.url).extra_root_certificates(front.root.clone()));
    let status = fails_with(&client, Cause::TlsFailed).await;
    assert_eq!(status.layer, Some(Layer::Edge));
    assert!(versions(&service).await.is_empty());
    front.show_one_until(2039);
    reach(&client, "synced", BOUND, synced).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_stalls_is_given_up_and_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let service = service(folder.path(), &["--set", "heartbeat_ms=500"]).await;
    let edge = service.said("edge").strip_prefix("https://").unwrap();
    let proxy = FaultProxy::start(edge.parse().unwrap()).await;
    proxy.set(Weather::Stall);
    let mut timeouts = Timeouts::default();
    timeouts.connect = Duration::from_millis(500);
    let builder = client(&proxy.url_https()).timeouts(timeouts);
    let client = started(builder.extra_root_certificates(service.root()));
    fails_with(&client, Cause::ConnectFailed).await;
    assert!(versions(&service).await.is_empty());
    proxy.set(Weather::Through);
    reach(&client, "synced", BOUND, synced).await;

    // A connection of HTTP/2 that is half-open takes every request with it; the next one works.
    proxy.set(Weather::HalfOpen {
        new_ones_work: true,
    });
    let silent = |s: &Status| s.state == SyncState::Degraded;
    reach(&client, "the silence is noticed", BOUND, silent).await;
    reach(&client, "synced after all", BOUND, synced).await;
}
