//! What stands on the TLS port instead of the service.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel::{Cause, Timeouts};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::frames;
use crate::scene::{MIB, REQUESTS_MAX, Scene, soon};
use crate::server::{PULL, Service, State, talk};

mod run {
    crate::scenarios! {
        plain_http_on_the_tls_port
        an_expired_certificate
        a_certificate_for_another_host
        a_certificate_of_nobody_we_know
        a_handshake_that_stalls
        a_handshake_of_garbage
        an_endless_handshake
        a_connection_that_is_reset
    }
}

/// What the port does with a connection.
#[derive(Clone, Copy)]
pub(crate) enum Mode {
    Good,
    Plain,
    Expired,
    WrongHost,
    Unknown,
    Stall,
    Garbage,
    Endless,
    Reset,
    Frames(frames::Trick),
}

/// A service with a private CA, whose port can be switched.
pub(crate) struct Port {
    pub(crate) service: Service,
    pub(crate) pem: String,
    mode: Arc<Mutex<Mode>>,
}

impl Port {
    pub(crate) async fn start() -> Self {
        let (ca_key, mut params) = (KeyPair::generate().unwrap(), CertificateParams::default());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&ca_key).unwrap().pem();
        let ca = Issuer::new(params, ca_key);
        let stranger = Issuer::new(CertificateParams::default(), KeyPair::generate().unwrap());
        let identities = Arc::new(Identities {
            good: acceptor("localhost", &ca, b"http/1.1", false),
            h2: acceptor("localhost", &ca, b"h2", false),
            expired: acceptor("localhost", &ca, b"http/1.1", true),
            wrong_host: acceptor("elsewhere.example", &ca, b"http/1.1", false),
            unknown: acceptor("localhost", &stranger, b"http/1.1", false),
        });
        let mode = Arc::new(Mutex::new(Mode::Good));
        let now = Arc::clone(&mode);
        let service = Service::serve("https", move |socket, state| {
            // Before the mode is read: what began as good ends with it, its handshake included.
            let mut cuts = state.subscribe_cuts();
            let (identities, mode) = (Arc::clone(&identities), *now.lock().unwrap());
            async move {
                tokio::select! {
                    () = identities.meet(mode, socket, state) => {}
                    _ = cuts.changed() => {}
                }
            }
        })
        .await;
        Self { service, pem, mode }
    }
}

struct Identities {
    good: TlsAcceptor,
    h2: TlsAcceptor,
    expired: TlsAcceptor,
    wrong_host: TlsAcceptor,
    unknown: TlsAcceptor,
}

impl Identities {
    async fn meet(&self, mode: Mode, mut socket: TcpStream, state: Arc<State>) {
        let acceptor = match mode {
            Mode::Plain => {
                let _ = socket.read_u8().await;
                let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
                let _ = socket.shutdown().await;
                let _ = socket.read_to_end(&mut Vec::new()).await;
                return;
            }
            Mode::Stall => {
                let _ = socket.read_to_end(&mut Vec::new()).await;
                return;
            }
            Mode::Garbage => {
                let _ = socket.write_all(&[0x16; 4096]).await;
                return;
            }
            Mode::Endless => {
                // Handshake records, each of the greatest length, none of which ends a message.
                let mut record = vec![0x16, 3, 3, 0x3f, 0xff, 2, 0xff, 0xff, 0xff];
                record.resize(5 + 0x3fff, 0);
                while socket.write_all(&record).await.is_ok() {}
                return;
            }
            Mode::Reset => {
                // With bytes left unread, closing is a reset.
                let _ = socket.read_u8().await;
                return;
            }
            Mode::Good => &self.good,
            Mode::Expired => &self.expired,
            Mode::WrongHost => &self.wrong_host,
            Mode::Unknown => &self.unknown,
            Mode::Frames(trick) => {
                if let Ok(socket) = self.h2.accept(socket).await {
                    frames::play(trick, socket, state).await;
                }
                return;
            }
        };
        if let Ok(socket) = acceptor.accept(socket).await {
            talk(socket, state).await;
        }
    }
}

fn acceptor(name: &str, ca: &Issuer<'_, KeyPair>, alpn: &[u8], expired: bool) -> TlsAcceptor {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    if expired {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    }
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, ca).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![alpn.to_vec()];
    Arc::new(config).into()
}

/// The port turns to this, which ends the connections that there are, and turns good again.
pub(crate) async fn survive(mode: Mode, timeouts: Timeouts, cause: Cause, growth_max: usize) {
    let Port {
        service,
        pem,
        mode: now,
    } = Port::start().await;
    let scene = Scene::with(service, timeouts, Some(&pem)).await;
    *now.lock().unwrap() = mode;
    scene.service.cut_streams();
    // What was on its way over the old connections has arrived, and nothing is left to be sent over.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = scene.service.requests();
    scene.provoke(PULL).await;
    scene.degraded("the port", cause).await;
    if !matches!(mode, Mode::Frames(_)) {
        assert_eq!(
            scene.service.requests(),
            before,
            "something was sent to a stranger"
        );
    }
    scene.write().await;
    let busy = scene
        .service
        .state
        .connections
        .load(std::sync::atomic::Ordering::SeqCst);
    assert!(busy <= 20, "{busy} connections");
    *now.lock().unwrap() = Mode::Good;
    // A connection of the other kind would go on.
    scene.service.cut_streams();
    tokio::time::sleep(Duration::from_millis(50)).await;
    scene.recover().await;
    scene.finish(growth_max, REQUESTS_MAX).await;
}

async fn plain_http_on_the_tls_port() {
    survive(Mode::Plain, Timeouts::default(), Cause::TlsFailed, 6 * MIB).await;
}

async fn an_expired_certificate() {
    survive(
        Mode::Expired,
        Timeouts::default(),
        Cause::TlsFailed,
        6 * MIB,
    )
    .await;
}

async fn a_certificate_for_another_host() {
    survive(
        Mode::WrongHost,
        Timeouts::default(),
        Cause::TlsFailed,
        6 * MIB,
    )
    .await;
}

async fn a_certificate_of_nobody_we_know() {
    survive(
        Mode::Unknown,
        Timeouts::default(),
        Cause::TlsFailed,
        6 * MIB,
    )
    .await;
}

async fn a_handshake_that_stalls() {
    let mut timeouts = soon();
    timeouts.connect = Duration::from_millis(300);
    survive(Mode::Stall, timeouts, Cause::ConnectFailed, 6 * MIB).await;
}

async fn a_handshake_of_garbage() {
    survive(
        Mode::Garbage,
        Timeouts::default(),
        Cause::TlsFailed,
        6 * MIB,
    )
    .await;
}

async fn an_endless_handshake() {
    survive(
        Mode::Endless,
        Timeouts::default(),
        Cause::TlsFailed,
        6 * MIB,
    )
    .await;
}

async fn a_connection_that_is_reset() {
    survive(
        Mode::Reset,
        Timeouts::default(),
        Cause::ConnectFailed,
        6 * MIB,
    )
    .await;
}
