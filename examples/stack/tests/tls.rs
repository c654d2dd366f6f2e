//! An edge that speaks TLS, over both versions of HTTP: the same service, the same faults.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails")]

mod support;

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use evenkeel_proto::wire::{AI_SESSION_COOKIE, SetCookie, TICKET_COOKIE};
use evenkeel_stack::{
    Cut, EdgeOptions, Part, Settings, Stack, StartError, TlsError, TlsOptions, run_edge,
};
use http::{StatusCode, Version};
use support::{Device, Visitor, eventually, short, trusting, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn secured(folder: &Path, settings: Settings) -> Stack {
    let builder = Stack::builder().settings(settings).tls(folder);
    builder.start().await.unwrap()
}

/// A stack for each version of HTTP with a client that uses it.
async fn both(folder: &Path) -> [(Stack, Device, Version); 2] {
    let only_old = short(&[("http2", "false")]);
    let old = secured(folder, only_old).await;
    let new = secured(folder, short(&[])).await;
    let (old_device, new_device) = (Device::edge(&old), Device::edge(&new));
    [
        (old, old_device, Version::HTTP_11),
        (new, new_device, Version::HTTP_2),
    ]
}

#[tokio::test]
async fn everything_works_over_both_versions_of_http() {
    let folder = tempfile::tempdir().unwrap();
    for (stack, device, version) in both(folder.path()).await {
        assert!(stack.edge_url().starts_with("https://127.0.0.1:"));
        let response = device.try_pull(0).await.unwrap();
        assert_eq!(
            (response.status(), response.version()),
            (StatusCode::OK, version)
        );
        let mut events = device.stream().await;
        assert_eq!(events.response.version(), version);
        events.expect("ready").await;
        device.write("n", 0, "kept").await;
        events.expect("sync").await;
        let mut visitor = Visitor::device(&stack);
        let connected = visitor.connect("gemini", "sk-user-7").await;
        let cookie = SetCookie::find(connected.headers(), AI_SESSION_COOKIE);
        assert!(cookie.unwrap().secure);
        visitor.works().await;
        let ticket = device.send(device.post("/api/v2/events/ticket")).await;
        let cookie = SetCookie::find(ticket.headers(), TICKET_COOKIE);
        assert!(cookie.unwrap().secure);
        let seen = stack.requests().at(Part::Edge);
        let expected = match version {
            Version::HTTP_2 => "2",
            _ => "1.1",
        };
        assert!(seen.iter().all(|record| record.http_version == expected));
        let behind = stack.requests().at(Part::Origin);
        assert!(behind.iter().all(|record| record.http_version == "1.1"));
    }
}

#[tokio::test]
async fn a_client_may_stay_with_the_old_version() {
    let folder = tempfile::tempdir().unwrap();
    let stack = secured(folder.path(), short(&[])).await;
    let device = Device {
        http: trusting(stack.ca().unwrap(), true),
        ..Device::edge(&stack)
    };
    let response = device.try_pull(0).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_11);
}

#[tokio::test]
async fn plain_http_on_its_port_gets_no_data_and_a_silent_caller_no_more_than_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let stack = secured(folder.path(), short(&[])).await;
    let address = stack.edge_url().strip_prefix("https://").unwrap();
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = b"GET /api/v1/metrics HTTP/1.1\r\nhost: localhost\r\n\r\n";
    socket.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let _reset_or_end = within(socket.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    assert!(answer.len() < 16, "an alert at most: {answer:?}");
    assert!(stack.requests().all().is_empty());

    let silent = TcpStream::connect(address).await.unwrap();
    within(stack.stop()).await;
    drop(silent);
}

#[tokio::test]
async fn connections_are_refused_and_broken_as_without_it() {
    let folder = tempfile::tempdir().unwrap();
    for (stack, device, version) in both(folder.path()).await {
        let mut events = device.stream().await;
        events.expect("ready").await;
        stack.faults().update(|f| f.edge_refuses = true);
        let broken = within(events.try_next()).await;
        assert!(broken.is_err(), "{version:?}: {broken:?}");
        eventually(async || {
            let refused = device.try_pull(0).await;
            refused.is_err_and(|error| error.is_connect())
        })
        .await;
        stack.faults().reset();
        eventually(async || device.try_pull(0).await.is_ok()).await;
    }
}

#[tokio::test]
async fn streams_end_as_without_it() {
    let folder = tempfile::tempdir().unwrap();
    for (stack, device, version) in both(folder.path()).await {
        let mut cut = device.stream().await;
        cut.expect("ready").await;
        stack.faults().cut_streams(Cut::Reset);
        assert!(within(cut.try_next()).await.is_err(), "{version:?}");

        for end in ["cut", "restart", "stop"] {
            let mut stream = device.stream().await;
            stream.expect("ready").await;
            match end {
                "cut" => stack.faults().cut_streams(Cut::Clean),
                "restart" => stack.restart_edge(),
                _ => {
                    within(stack.stop()).await;
                    assert_eq!(
                        within(stream.try_next()).await.unwrap(),
                        None,
                        "{version:?}"
                    );
                    break;
                }
            }
            assert_eq!(
                within(stream.try_next()).await.unwrap(),
                None,
                "{end} {version:?}"
            );
            assert_eq!(device.try_pull(0).await.unwrap().version(), version);
        }
    }
}

/// Over HTTP/2 all requests share a connection: one that hangs must not hold up the others.
#[tokio::test]
async fn a_hanging_request_holds_up_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let settings = short(&[("proxy_timeout_ms", "10000")]);
    let stack = secured(folder.path(), settings).await;
    let device = Device::edge(&stack);
    stack.faults().update(|f| f.origin_hangs = true);
    let hanging = tokio::spawn({
        let device = device.clone();
        async move { device.try_pull(0).await }
    });
    eventually(async || !stack.requests().at(Part::Origin).is_empty()).await;
    let other = device.send(device.get("/api/v1/metrics")).await;
    assert_eq!(
        (other.status(), other.version()),
        (StatusCode::OK, Version::HTTP_2)
    );
    assert!(!hanging.is_finished());
    hanging.abort();
}

#[tokio::test]
async fn the_authority_outlives_the_service_and_is_not_replaced_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let [ca, key] = ["ca.pem", "ca-key.pem"].map(|name| folder.path().join(name));
    let stack = secured(folder.path(), short(&[])).await;
    assert_eq!(stack.ca(), Some(ca.as_path()));
    let first = fs::read(&ca).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(&key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mode = fs::metadata(&ca).unwrap().permissions().mode();
        assert_eq!(mode & 0o400, 0o400);
    }
    let trusts_the_first = trusting(&ca, false);
    stack.stop().await;
    let works = async || {
        let stack = secured(folder.path(), short(&[])).await;
        let device = Device {
            http: trusts_the_first.clone(),
            ..Device::edge(&stack)
        };
        device.pull(0).await;
        stack.stop().await;
    };
    works().await;
    assert_eq!(fs::read(&ca).unwrap(), first);
    let files = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(files, 2, "the service's own key is nowhere");

    fs::remove_file(&ca).unwrap();
    works().await;

    let saved = (fs::read(&ca).unwrap(), fs::read(&key).unwrap());
    let other = tempfile::tempdir().unwrap();
    secured(other.path(), short(&[])).await;
    let others = fs::read(other.path().join("ca.pem")).unwrap();
    let half = saved.0[..saved.0.len() / 2].to_vec();
    for (file, damage) in [
        (&ca, Some(others)),
        (&ca, Some(half)),
        (&ca, Some(Vec::new())),
        (&key, Some(b"hello".to_vec())),
        (&key, None),
    ] {
        match &damage {
            Some(bytes) => fs::write(file, bytes).unwrap(),
            None => fs::remove_file(file).unwrap(),
        }
        let error = Stack::builder()
            .tls(folder.path())
            .start()
            .await
            .unwrap_err();
        let StartError::Tls(TlsError::Damaged { path, .. }) = &error else {
            panic!("{error:?}");
        };
        assert_eq!(path, file, "{error}");
        fs::write(&ca, &saved.0).unwrap();
        fs::write(&key, &saved.1).unwrap();
    }
    works().await;
}

#[tokio::test]
async fn several_that_start_at_once_share_one_authority() {
    let folder = tempfile::tempdir().unwrap();
    let starting = (0..4).map(|_| {
        let folder = folder.path().to_owned();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_all().build().unwrap();
            runtime.block_on(async {
                secured(&folder, short(&[])).await.stop().await;
            });
        })
    });
    for thread in starting.collect::<Vec<_>>() {
        thread.join().unwrap();
    }
    let files = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(files, 2);
}

#[tokio::test]
async fn beyond_the_loopback_it_has_to_speak_tls_and_a_name_has_to_be_one() {
    let everywhere: IpAddr = "192.0.2.1".parse().unwrap();
    let plain = run_edge(EdgeOptions {
        listen: Some(everywhere),
        ..EdgeOptions::default()
    });
    let refused = plain.await.unwrap_err();
    assert!(matches!(refused, StartError::Plain(addr) if addr.ip() == everywhere));

    let folder = tempfile::tempdir().unwrap();
    for name in ["", "not a name", "ä.example"] {
        let named = run_edge(EdgeOptions {
            tls: Some(TlsOptions {
                folder: folder.path().to_owned(),
                names: vec![name.to_owned()],
            }),
            ..EdgeOptions::default()
        });
        let refused = named.await.unwrap_err();
        let expected = matches!(&refused, StartError::Tls(TlsError::Name(n)) if n == name);
        assert!(expected, "{refused:?}");
    }
}
