//! The tool over TLS: a real handshake with certificates that are good, expired, or nobody's.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{command, lines, stack, url};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use serde_json::Value;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// An authority of this test's own, and its certificate in a file.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        Self {
            issuer: Issuer::new(params, key),
            folder,
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// TLS in front of a service, for `localhost`, until the end of that year.
    async fn front(&self, service: &str, until: i32) -> String {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 12, 31);
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
        let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
        let service: SocketAddr = service.strip_prefix("http://").unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A client that does not trust us hangs up, and has nothing more to say.
                    let Ok(mut client) = acceptor.accept(client).await else {
                        return;
                    };
                    let mut server = TcpStream::connect(service).await.unwrap();
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        format!("https://localhost:{port}")
    }
}

async fn run(args: &[&str], roots: &Path) -> (Option<i32>, Value) {
    let mut command = command(&[args, &["--format", "json"]].concat());
    command
        .env("EVENKEEL_TOKEN", "demo-token")
        .env("SSL_CERT_FILE", roots)
        .env_remove("SSL_CERT_DIR");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = output.await.unwrap();
    (output.status.code(), lines(&output).remove(0))
}

fn tls(report: &Value) -> &Value {
    let phases = report["attempts"][0]["phases"].as_array().unwrap();
    phases.iter().find(|phase| phase["id"] == "tls").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_over_tls_is_timed_and_only_with_whom_the_system_trusts() {
    let settings = ["--set", "heartbeat_ms=300", "--set", "ticket_carrier=body"];
    let (_stack, urls) = stack(&settings);
    let (ours, others) = (Authority::new(), Authority::new());
    let edge = ours.front(url(&urls, "edge"), 2039).await;
    let args = ["handshake", "--edge", edge.as_str()];
    let (code, report) = run(&args, &ours.file()).await;
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(tls(&report)["state"], "pass");
    assert!(tls(&report)["took_ms"].as_f64().unwrap() > 0.0, "{report}");

    let (code, report) = run(&args, &others.file()).await;
    assert_eq!(code, Some(1), "{report}");
    assert_eq!(tls(&report)["state"], "fail");
    let phases = report["attempts"][0]["phases"].as_array().unwrap();
    assert_eq!(
        phases.last().unwrap()["id"],
        "tls",
        "no ticket was asked for"
    );

    let expired = ours.front(url(&urls, "edge"), 2021).await;
    let (code, report) = run(&["handshake", "--edge", &expired], &ours.file()).await;
    assert_eq!(code, Some(1), "{report}");
    let evidence = tls(&report)["evidence"].as_str().unwrap();
    assert!(evidence.contains("xpired"), "{evidence}");
}

/// The reference service is not told that there is TLS in front of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_tickets_cookie_without_secure_is_no_good_over_tls() {
    let (_stack, urls) = stack(&["--set", "heartbeat_ms=300"]);
    let ours = Authority::new();
    let edge = ours.front(url(&urls, "edge"), 2039).await;
    let (code, report) = run(&["handshake", "--edge", &edge], &ours.file()).await;
    assert_eq!(code, Some(1), "{report}");
    let checks = report["attempts"][0]["checks"].as_array().unwrap();
    assert_eq!(checks[0]["evidence"], "Secure is missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_with_tls_of_its_own_passes_with_its_root_and_is_nobody_without() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    let (_stack, urls) = stack(&["--set", "heartbeat_ms=300", "--tls-dir", folder]);
    let (edge, ca) = (url(&urls, "edge"), url(&urls, "ca"));
    assert!(edge.starts_with("https://127.0.0.1:"), "{edge}");
    let nobody = Authority::new();
    let args = ["handshake", "--edge", edge];
    let (code, report) = run(&[&args[..], &["--ca-file", ca]].concat(), &nobody.file()).await;
    assert_eq!(code, Some(0), "{report}");
    let checks = report["attempts"][0]["checks"].as_array().unwrap();
    assert_eq!(checks[0]["id"], "cookie");
    assert_eq!(checks[0]["state"], "pass");
    let (code, report) = run(&args, &nobody.file()).await;
    assert_eq!((code, &tls(&report)["state"]), (Some(1), &"fail".into()));

    let asked = [
        "status",
        "--until",
        "synced",
        "--edge",
        edge,
        "--ca-file",
        ca,
    ];
    let (code, status) = run(&asked, &nobody.file()).await;
    assert_eq!((code, &status["state"]), (Some(0), &"synced".into()));
    let asked = [
        "verify",
        "--window",
        "1s",
        "--interval",
        "200ms",
        "--edge",
        edge,
    ];
    let rest = ["--origin", url(&urls, "origin"), "--ca-file", ca];
    let (code, verdict) = run(&[&asked[..], &rest].concat(), &nobody.file()).await;
    assert_eq!(code, Some(0), "{verdict}");
}

#[tokio::test(flavor = "multi_thread")]
async fn triage_tells_a_certificates_dates_and_what_an_expired_one_does() {
    let (_stack, urls) = stack(&["--set", "heartbeat_ms=300"]);
    let ours = Authority::new();
    let edge = ours.front(url(&urls, "edge"), 2039).await;
    for (until, code, words) in [(2039, 0, "days left"), (2021, 1, "xpired")] {
        let origin = ours.front(url(&urls, "origin"), until).await;
        let args = [
            "triage", "--sample", "500ms", "--edge", &edge, "--origin", &origin,
        ];
        let (ended, report) = run(&args, &ours.file()).await;
        assert_eq!(ended, Some(code), "{report}");
        let steps = report["steps"].as_array().unwrap();
        let reach = steps.iter().find(|step| step["id"] == "reachability");
        let reach = reach.unwrap().to_string();
        assert!(reach.contains(words), "{until}: {reach}");
    }
}
