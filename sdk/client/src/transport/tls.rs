//! Whom to trust.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::error::BuildError;

/// One or more root certificates from PEM, or one from DER.
pub(crate) fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, BuildError> {
    let unreadable = |reason: String| BuildError::Certificate { reason };
    if !bytes.windows(PEM.len()).any(|window| window == PEM) {
        // Only what can serve as a root is one.
        let der = CertificateDer::from(bytes.to_vec());
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(der.clone())
            .map_err(|e| unreadable(e.to_string()))?;
        return Ok(vec![der]);
    }
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let found = found.map_err(|e| unreadable(e.to_string()))?;
    if found.is_empty() {
        return Err(unreadable("no certificate in this PEM text".into()));
    }
    let mut roots = rustls::RootCertStore::empty();
    for der in &found {
        roots
            .add(der.clone())
            .map_err(|e| unreadable(e.to_string()))?;
    }
    Ok(found)
}

/// The system's trust (bundled roots on Android, whose verifier needs a set-up through JNI that a
/// library cannot do by itself), and the app's own roots beside it.
pub(crate) fn tls_config(extra: Vec<CertificateDer<'static>>) -> Result<ClientConfig, BuildError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let failed = |error: rustls::Error| BuildError::Tls {
        reason: error.to_string(),
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(failed)?;
    let mut config = trusting(builder, extra, provider).map_err(failed)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

type Unverified = rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>;

#[cfg(not(target_os = "android"))]
fn trusting(
    builder: Unverified,
    extra: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
) -> Result<ClientConfig, rustls::Error> {
    let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(extra, provider)?;
    Ok(builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

#[cfg(target_os = "android")]
fn trusting(
    builder: Unverified,
    extra: Vec<CertificateDer<'static>>,
    _: Arc<CryptoProvider>,
) -> Result<ClientConfig, rustls::Error> {
    let mut roots = rustls::RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    for certificate in extra {
        roots.add(certificate)?;
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

const PEM: &[u8] = b"-----BEGIN";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_read_from_pem_and_der_and_nothing_else() {
        let key = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let (pem, der) = (key.cert.pem(), key.cert.der());
        let two = format!("{pem}{pem}");
        assert_eq!(certificates(pem.as_bytes()).unwrap().len(), 1);
        assert_eq!(certificates(two.as_bytes()).unwrap().len(), 2);
        assert_eq!(certificates(der).unwrap().len(), 1);
        for garbage in [
            &b""[..],
            b"hello",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            &der[..der.len() - 1],
        ] {
            let error = certificates(garbage).unwrap_err();
            assert!(matches!(error, BuildError::Certificate { .. }), "{error}");
        }
        tls_config(certificates(der).unwrap()).unwrap();
    }
}
