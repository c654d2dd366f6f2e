//! Certificates for the edge: an authority of the service's own, kept in a folder for clients to trust,
//! and a certificate from it that is made anew at each start and never leaves this process.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;
use uuid::Uuid;

/// How an edge speaks TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Where the authority is kept: `ca.pem` for clients to trust, and its key. Made where there is none.
    pub folder: PathBuf,
    /// Further names and addresses that the certificate is for, beside `localhost`, `127.0.0.1` and `::1`.
    pub names: Vec<String>,
}

/// Why an edge cannot speak TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file of the authority cannot be read or written.
    #[error("cannot use {path}")]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is in the folder is no authority, or a part of it is missing. It is left as it is, for clients
    /// may trust it: put it right, or delete both files for a new one.
    #[error("{path} is no good: {reason}; delete ca.pem and ca-key.pem for a new authority")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate cannot be for this name.
    #[error("a certificate cannot be for {0:?}")]
    Name(String),
    /// A certificate could not be made.
    #[error("no certificate could be made: {0}")]
    Failed(String),
}

/// What an edge needs for TLS.
pub(crate) struct Tls {
    pub(crate) acceptor: TlsAcceptor,
    /// The file that clients are to trust.
    pub(crate) ca: PathBuf,
}

impl Tls {
    pub(crate) fn open(options: &TlsOptions, http2: bool) -> Result<Self, TlsError> {
        let folder = &options.folder;
        fs::create_dir_all(folder).map_err(|source| file(folder, source))?;
        let authority = Authority::open(folder)?;
        let mut names = OWN_NAMES.map(str::to_owned).to_vec();
        names.extend(options.names.iter().cloned());
        let key = KeyPair::generate().map_err(failed)?;
        let leaf = authority.sign(names, &key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        authority.check(leaf.der(), Arc::clone(&provider))?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(failed)?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key);
        let mut config = config.map_err(failed)?;
        if http2 {
            config.alpn_protocols.push(b"h2".to_vec());
        }
        config.alpn_protocols.push(b"http/1.1".to_vec());
        Ok(Self {
            acceptor: Arc::new(config).into(),
            ca: authority.certificate_file,
        })
    }
}

struct Authority {
    certificate_file: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// The one in the folder, or a new one. A certificate that is lost is made again from its key: whoever
    /// trusts the old one trusts this one too.
    fn open(folder: &Path) -> Result<Self, TlsError> {
        let (key_file, certificate_file) = (folder.join(KEY_FILE), folder.join(CERTIFICATE_FILE));
        let certified = certificate_file.exists();
        if !key_file.exists() {
            if certified {
                let reason = "it is missing, and ca.pem is there".to_owned();
                return Err(damaged(&key_file, reason));
            }
            let pem = KeyPair::generate().map_err(failed)?.serialize_pem();
            put(&key_file, &pem, Put::Secret).map_err(|source| file(&key_file, source))?;
        }
        let pem = fs::read_to_string(&key_file).map_err(|source| file(&key_file, source))?;
        let key = KeyPair::from_pem(&pem).map_err(|e| damaged(&key_file, e.to_string()))?;
        if !certified {
            let certificate = params().self_signed(&key).map_err(failed)?;
            put(&certificate_file, &certificate.pem(), Put::Open)
                .map_err(|source| file(&certificate_file, source))?;
        }
        Ok(Self {
            certificate_file,
            issuer: Issuer::new(params(), key),
        })
    }

    fn sign(&self, names: Vec<String>, key: &KeyPair) -> Result<Certificate, TlsError> {
        let mut params = CertificateParams::default();
        for name in names {
            let wrong = |_| TlsError::Name(name.clone());
            ServerName::try_from(name.as_str()).map_err(|_| TlsError::Name(name.clone()))?;
            let read = CertificateParams::new(vec![name.clone()]).map_err(wrong)?;
            params.subject_alt_names.extend(read.subject_alt_names);
        }
        params.distinguished_name = called("Evenkeel reference service");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let now = SystemTime::now();
        params.not_before = (now - EARLY).into();
        params.not_after = (now + LEAF_LIVES).into();
        params.signed_by(key, &self.issuer).map_err(failed)
    }

    /// Whether who trusts the certificate in the folder will trust this one.
    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        provider: Arc<CryptoProvider>,
    ) -> Result<(), TlsError> {
        let wrong = |reason: String| damaged(&self.certificate_file, reason);
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_file(&self.certificate_file);
        roots
            .add(root.map_err(|e| wrong(e.to_string()))?)
            .map_err(|e| wrong(e.to_string()))?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = verifier.build().map_err(|e| wrong(e.to_string()))?;
        let name = ServerName::try_from(OWN_NAMES[0]).map_err(failed)?;
        verifier
            .verify_server_cert(leaf, &[], &name, &[], UnixTime::now())
            .map_err(|e| wrong(format!("it does not go with ca-key.pem ({e})")))?;
        Ok(())
    }
}

/// The same each time: an authority is known by its key.
fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = called("Evenkeel reference service's own authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn called(name: &str) -> DistinguishedName {
    let mut called = DistinguishedName::new();
    called.push(DnType::CommonName, name);
    called
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Put {
    /// For its owner's eyes only. Who comes second takes what the first has put there.
    Secret,
    /// For everybody, in the place of what is there.
    Open,
}

/// Puts a whole file there at once.
fn put(path: &Path, text: &str, how: Put) -> io::Result<()> {
    let draft = path.with_extension(Uuid::new_v4().simple().to_string());
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if how == Put::Secret {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    let written = options
        .open(&draft)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    let done = written.and_then(|()| match how {
        Put::Secret => fs::hard_link(&draft, path),
        Put::Open => fs::rename(&draft, path),
    });
    // After a rename it is not there any more.
    let _ = fs::remove_file(&draft);
    match done {
        Err(error) if how == Put::Secret && path.exists() => {
            tracing::debug!(%error, "another process was first");
            Ok(())
        }
        done => done,
    }
}

fn file(path: &Path, source: io::Error) -> TlsError {
    let path = path.to_owned();
    TlsError::File { path, source }
}

fn damaged(path: &Path, reason: String) -> TlsError {
    let path = path.to_owned();
    TlsError::Damaged { path, reason }
}

fn failed(error: impl ToString) -> TlsError {
    TlsError::Failed(error.to_string())
}

const CERTIFICATE_FILE: &str = "ca.pem";
const KEY_FILE: &str = "ca-key.pem";
const OWN_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// A client's clock may be behind.
const EARLY: Duration = Duration::from_secs(2 * 24 * 60 * 60);
/// Some systems take no certificate that lives longer.
const LEAF_LIVES: Duration = Duration::from_secs(397 * 24 * 60 * 60);
