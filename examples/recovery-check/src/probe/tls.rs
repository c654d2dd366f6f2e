//! TLS with the system's trust, as the SDK's own; the certificate's dates are kept whatever the verdict.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_platform_verifier::Verifier;

use super::Validity;
use crate::exit::Failed;

/// How to trust; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    provider: Arc<CryptoProvider>,
    verifier: Arc<Verifier>,
}

/// The dates of the certificate that was shown, if one was.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(Arc<Mutex<Option<Validity>>>);

impl Seen {
    pub(crate) fn validity(&self) -> Option<Validity> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tls {
    /// The system's roots, and these in PEM beside them.
    pub(crate) fn trusting(pem: Option<&[u8]>) -> Result<Self, Failed> {
        let extra: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(pem.unwrap_or_default()).collect();
        let extra = match extra {
            Ok(extra) if pem.is_none() || !extra.is_empty() => extra,
            Ok(_) => return Err(unusable("no certificate in it")),
            Err(error) => return Err(unusable(&error.to_string())),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Verifier::new_with_extra_roots(extra, Arc::clone(&provider))
            .map_err(|e| Failed::configuration(format!("cannot use the system's trust: {e}")))?;
        Ok(Self {
            provider,
            verifier: Arc::new(verifier),
        })
    }

    /// For one connection, so that what is seen belongs to it.
    pub(super) fn config(&self) -> Result<(ClientConfig, Seen), rustls::Error> {
        let seen = Seen::default();
        let verifier = Watching {
            inner: Arc::clone(&self.verifier),
            seen: seen.clone(),
        };
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Each handshake is a whole one: a resumed one would show no certificate.
        config.resumption = rustls::client::Resumption::disabled();
        Ok((config, seen))
    }
}

fn unusable(why: &str) -> Failed {
    Failed::configuration(format!(
        "--ca-file (or EVENKEEL_CA_FILE): {why}; it must hold certificates in PEM"
    ))
}

/// Looks at the certificate and leaves the verdict to the system's verifier.
#[derive(Debug)]
struct Watching {
    inner: Arc<Verifier>,
    seen: Seen,
}

impl ServerCertVerifier for Watching {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.seen.0.lock().unwrap_or_else(PoisonError::into_inner) = Validity::of(end_entity);
        self.inner
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
