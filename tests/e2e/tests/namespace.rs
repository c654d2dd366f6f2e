//! A client as a process of its own in a network of its own, whose interface goes away, whose packets are late or lost,
//! and whose names cannot be looked up. Left out where the machine allows no namespaces.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic is a test's verdict")]

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use evenkeel_e2e::netns::Netns;
use evenkeel_e2e::proxy::{FaultProxy, Weather};
use evenkeel_e2e::{StackProcess, left_out, recovery_check};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::UdpSocket;
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

const BOUND: Duration = Duration::from_secs(120);
const NAME: &str = "sync.evenkeel.test";

/// A network, a service that it reaches over TLS, and the service's root.
struct Scene {
    network: Netns,
    service: StackProcess,
    _folder: tempfile::TempDir,
}

impl Scene {
    /// `None` where the machine does not allow it, which is said.
    async fn set() -> Option<Self> {
        let network = match Netns::create() {
            Ok(network) => network,
            Err(why) => {
                left_out("network namespaces", &why);
                return None;
            }
        };
        let folder = tempfile::tempdir().unwrap();
        let host = network.host().to_string();
        let arguments = [
            "--tls-dir",
            folder.path().to_str().unwrap(),
            "--listen",
            &host,
            "--tls-name",
            &host,
            "--tls-name",
            NAME,
            "--set",
            "heartbeat_ms=500",
        ];
        Some(Self {
            service: StackProcess::start(&arguments).await,
            network,
            _folder: folder,
        })
    }

    fn port(&self) -> u16 {
        let edge = self.service.said("edge");
        edge.rsplit_once(':').unwrap().1.parse().unwrap()
    }

    fn client(&self, host: &str, port: u16) -> Watching {
        let mut child = self
            .network
            .command(recovery_check())
            .args(["watch", "--format", "jsonl", "--edge"])
            .arg(format!("https://{host}:{port}"))
            .args(["--ca-file", self.service.said("ca")])
            .env("EVENKEEL_TOKEN", "demo-token")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Watching {
            lines,
            _child: child,
        }
    }
}

/// A client that says what its status is.
struct Watching {
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Watching {
    /// Reads on until it is in this state; with which cause, and after how long.
    async fn reach(&mut self, state: &str) -> (String, Duration) {
        let begun = Instant::now();
        let reading = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                let line: Value = serde_json::from_str(&line).unwrap();
                if line["state"] == state {
                    return line["cause"].as_str().unwrap_or_default().to_owned();
                }
            }
            panic!("the client ended before it was {state}")
        };
        let cause = timeout(BOUND, reading).await;
        let cause = cause.unwrap_or_else(|_| panic!("not {state} within {BOUND:?}"));
        (cause, begun.elapsed())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interface_that_goes_away_and_comes_back() {
    let Some(scene) = Scene::set().await else {
        return;
    };
    let mut client = scene.client(&scene.network.host().to_string(), scene.port());
    client.reach("synced").await;
    scene.network.down().unwrap();
    let (cause, _) = client.reach("degraded").await;
    let of_the_path = [
        "connect_failed",
        "connection_lost",
        "stream_stalled",
        "offline",
    ];
    assert!(of_the_path.contains(&cause.as_str()), "{cause}");
    scene.network.up().unwrap();
    client.reach("synced").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_and_lost_packets_do_not_keep_it_from_syncing() {
    let Some(scene) = Scene::set().await else {
        return;
    };
    let host = scene.network.host();
    let edge = SocketAddr::from((host, scene.port()));
    let (delay, loss_percent) = (Duration::from_millis(300), 20);
    let Err(why) = scene.network.netem(delay, loss_percent) else {
        let mut client = scene.client(&host.to_string(), edge.port());
        client.reach("synced").await;
        return;
    };
    left_out("netem", &why);
    // The kernel's packet filter loses as many, and a proxy delays as much.
    if let Err(why) = scene.network.lose(loss_percent) {
        left_out("lost packets", &why);
        return;
    }
    let proxy = FaultProxy::start_at((host, 0).into(), edge).await;
    let jitter = Duration::ZERO;
    proxy.set(Weather::Latency { delay, jitter });
    let mut client = scene.client(&host.to_string(), proxy.addr().port());
    let (_, took) = client.reach("synced").await;
    assert!(
        took >= 4 * 2 * delay,
        "a handshake, a pull, a ticket and a stream: {took:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_cannot_be_looked_up_for_a_while() {
    let Some(scene) = Scene::set().await else {
        return;
    };
    let host = scene.network.host();
    let names = Names::serve(host).await;
    scene.network.resolve_with(host).unwrap();

    // From the start, with a server that is silent.
    let mut client = scene.client(NAME, scene.port());
    let (cause, _) = client.reach("degraded").await;
    assert_eq!(cause, "dns_failed");
    names.answers(true);
    client.reach("synced").await;

    // Later: what is connected goes on; what has to connect anew says why it cannot.
    names.answers(false);
    let control = async |method, path, body| scene.service.control(method, path, body).await;
    control("PUT", "/faults/edge_refuses", "true").await;
    client.reach("degraded").await;
    control("POST", "/reset", "").await;
    while client.reach("degraded").await.0 != "dns_failed" {}
    names.answers(true);
    client.reach("synced").await;
}

/// A name server that knows one name.
struct Names(Arc<AtomicBool>);

impl Names {
    /// Silent at first.
    async fn serve(at: Ipv4Addr) -> Self {
        let socket = UdpSocket::bind((at, 53)).await.unwrap();
        let answers = Arc::<AtomicBool>::default();
        let switch = Arc::clone(&answers);
        tokio::spawn(async move {
            let mut question = [0; 512];
            while let Ok((length, asker)) = socket.recv_from(&mut question).await {
                if switch.load(Ordering::SeqCst) {
                    let answer = answer(&question[..length], at);
                    let _ = socket.send_to(&answer, asker).await;
                }
            }
        });
        Self(answers)
    }

    fn answers(&self, yes: bool) {
        self.0.store(yes, Ordering::SeqCst);
    }
}

/// The question again, with the address where one of IPv4 was asked for, and with none otherwise.
fn answer(question: &[u8], address: Ipv4Addr) -> Vec<u8> {
    // The name ends with an empty label; type and class follow.
    let name = question[12..].iter().position(|byte| *byte == 0).unwrap() + 12;
    let of_ipv4 = question[name + 1..name + 3] == [0, 1];
    let mut answer = question[..2].to_vec();
    // An answer to one question, recursion wanted and there.
    answer.extend([0x81, 0x80, 0, 1, 0, u8::from(of_ipv4), 0, 0, 0, 0]);
    answer.extend(&question[12..name + 5]);
    if of_ipv4 {
        // The name of the question, IN A, not to be kept, four bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    answer
}
