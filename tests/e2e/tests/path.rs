//! The way between client and edge, and between edge and origin, in every kind of bad weather.

use std::time::Duration;

use evenkeel::Cause;
use evenkeel_e2e::crew::{Crew, Way as Route};
use evenkeel_e2e::proxy::{End, FaultProxy, Way, Weather};
use evenkeel_e2e::scenario::{Expect, Scenario};
use evenkeel_e2e::servers;
use evenkeel_e2e::service::{Service, address};
use tokio::time::sleep;

/// Where the bad weather is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Between {
    ClientAndEdge,
    EdgeAndOrigin,
}

async fn weather(between: Between, weather: Weather, expect: Expect) {
    if !servers::here() {
        return;
    }
    let mut behind = None;
    let service = Service::start(1, async |url| {
        let proxy = FaultProxy::start(address(url)).await;
        let url = proxy.url_http();
        behind = Some(proxy);
        url
    });
    let service = service.await;
    let before = FaultProxy::start(address(&service.url())).await;
    let crew = Crew::board(3, &Route::to(&before.url_http())).await;
    let proxy = match (between, behind.as_ref()) {
        (Between::EdgeAndOrigin, Some(behind)) => behind,
        _ => &before,
    };
    let scenario = Scenario::begin(expect, crew).await;
    proxy.set(weather);
    sleep(match weather {
        // Signs of life go on coming; that nothing is heard shows when an answer is overdue.
        Weather::Loss(Way::Up) => Duration::from_secs(30),
        _ => Duration::from_secs(15),
    })
    .await;
    proxy.set(Weather::Through);
    scenario.mended(&service.postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_handshakes_of_clients_stall() {
    if !servers::here() {
        return;
    }
    let folder = tempfile::tempdir();
    let folder = folder.unwrap_or_else(|error| panic!("a folder: {error}"));
    let service = Service::start_over_tls(folder.path()).await;
    let proxy = FaultProxy::start(address(&service.url())).await;
    let (url, root) = (proxy.url_https(), service.edge.root());
    let route = Route {
        roots: Some(&root),
        environment: &[("SSL_CERT_FILE", service.edge.said("ca"))],
        ..Route::to(&url)
    };
    let crew = Crew::board(3, &route).await;
    let expect = Expect {
        fault: "Path, client–edge: TLS handshake stalls",
        causes: &[
            Cause::ConnectFailed,
            Cause::ConnectionLost,
            Cause::TlsFailed,
            Cause::ResponseTimeout,
        ],
        total: true,
    };
    let scenario = Scenario::begin(expect, crew).await;
    // What is open works on; whoever has to open anew gets no answer.
    proxy.set(Weather::Reset);
    sleep(Duration::from_secs(1)).await;
    proxy.set(Weather::Stall);
    sleep(Duration::from_secs(15)).await;
    proxy.set(Weather::Through);
    scenario.mended(&service.postgres).await;
}

macro_rules! scenarios {
    ($($name:ident: $between:ident, $weather:expr, $fault:literal, total: $total:literal, $($cause:ident)*;)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let expect = Expect {
                    fault: $fault,
                    causes: &[$(Cause::$cause),*],
                    total: $total,
                };
                weather(Between::$between, $weather, expect).await;
            }
        )+
    };
}

scenarios! {
    clients_are_far_away: ClientAndEdge, LATENCY, "Path, client–edge: latency 400 ± 300 ms",
        total: false, ;
    clients_have_a_thin_line: ClientAndEdge, Weather::Bandwidth(8 << 10), "Path, client–edge: 8 KiB/s",
        total: false, ;
    clients_are_not_heard: ClientAndEdge, Weather::Loss(Way::Up), "Path, client–edge: nothing gets up",
        total: true, ResponseTimeout StreamStalled ConnectFailed ConnectionLost;
    clients_hear_nothing: ClientAndEdge, Weather::Loss(Way::Down), "Path, client–edge: nothing gets down",
        total: true, ResponseTimeout StreamStalled ConnectFailed ConnectionLost;
    clients_are_reset: ClientAndEdge, Weather::Reset, "Path, client–edge: reset",
        total: true, ConnectionLost ConnectFailed;
    clients_are_refused: ClientAndEdge, Weather::Refuse, "Path, client–edge: refused",
        total: true, ConnectionLost ConnectFailed;
    connections_of_clients_are_half_open: ClientAndEdge, Weather::HalfOpen { new_ones_work: true },
        "Path, client–edge: half-open, new ones work", total: false, ResponseTimeout StreamStalled ConnectionLost;
    every_connection_of_clients_is_half_open: ClientAndEdge, Weather::HalfOpen { new_ones_work: false },
        "Path, client–edge: half-open, new ones too", total: true, ResponseTimeout StreamStalled ConnectionLost;
    answers_to_clients_are_cut: ClientAndEdge, CUT, "Path, client–edge: cut after 300 bytes",
        total: false, ConnectionLost StreamClosed BadResponse;
    origins_are_far_away: EdgeAndOrigin, LATENCY, "Path, edge–origin: latency 400 ± 300 ms",
        total: false, ;
    origins_are_not_heard: EdgeAndOrigin, Weather::Loss(Way::Down), "Path, edge–origin: nothing comes back",
        total: true, Timeout CircuitOpen StreamStalled;
    origins_reset: EdgeAndOrigin, Weather::Reset, "Path, edge–origin: reset",
        total: true, NetworkError CircuitOpen ConnectionLost;
    connections_to_origins_are_half_open: EdgeAndOrigin, Weather::HalfOpen { new_ones_work: false },
        "Path, edge–origin: half-open", total: true, Timeout CircuitOpen StreamStalled;
    answers_of_origins_are_cut: EdgeAndOrigin, CUT, "Path, edge–origin: cut after 300 bytes",
        total: false, NetworkError CircuitOpen ConnectionLost StreamClosed BadResponse;
}

const LATENCY: Weather = Weather::Latency {
    delay: Duration::from_millis(400),
    jitter: Duration::from_millis(300),
};
const CUT: Weather = Weather::Cut {
    after_bytes: 300,
    how: End::Rst,
};
