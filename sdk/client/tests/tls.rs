//! Whom the client trusts.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a panic is a test's verdict"
)]

mod common;

use common::{Service, builder, degraded, identity, synced};
use evenkeel::{Cause, ProxySetting, SyncClient, SyncClientBuilder};

fn built(builder: SyncClientBuilder) -> SyncClient {
    let client = builder.proxy(ProxySetting::None).build().unwrap();
    client.start().unwrap();
    client
}

#[tokio::test]
async fn a_root_given_by_the_app_is_trusted_over_both_versions_of_http() {
    for (alpn, version) in [
        (&b"http/1.1"[..], http::Version::HTTP_11),
        (b"h2", http::Version::HTTP_2),
    ] {
        let identity = identity("localhost", alpn);
        let service = Service::start_with(Some(identity.acceptor)).await;
        let client = built(builder(&service.url).extra_root_certificates(identity.pem));
        synced(&client).await;
        let seen = service.state.seen.lock().unwrap().clone();
        assert!(seen.iter().all(|request| request.version == version));
        client.stop().await;

        let der = identity.certificate.to_vec();
        let client = built(builder(&service.url).extra_root_certificates(der));
        synced(&client).await;
    }
}

#[tokio::test]
async fn a_certificate_of_nobody_we_know_is_tls_failed_and_nothing_is_sent() {
    let identity = identity("localhost", b"http/1.1");
    let service = Service::start_with(Some(identity.acceptor)).await;
    let client = built(builder(&service.url));
    assert_eq!(degraded(&client).await.cause, Some(Cause::TlsFailed));
    assert_eq!(service.requests(), 0);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_tls_failed() {
    let identity = identity("elsewhere.example", b"http/1.1");
    let service = Service::start_with(Some(identity.acceptor)).await;
    let client = built(builder(&service.url).extra_root_certificates(identity.pem));
    assert_eq!(degraded(&client).await.cause, Some(Cause::TlsFailed));
    assert_eq!(service.requests(), 0);
}

#[tokio::test]
async fn a_server_without_tls_is_tls_failed() {
    let service = Service::start().await;
    let url = service.url.replace("http:", "https:");
    let client = built(builder(&url));
    assert_eq!(degraded(&client).await.cause, Some(Cause::TlsFailed));
}
