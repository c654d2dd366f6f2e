//! The parts alone, as separate processes run them; the control API; serving in the foreground.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails")]

mod support;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use evenkeel_stack::{
    EdgeOptions, FaultSet, OriginOptions, Role, ServeError, ServeOptions, Stack, StartError,
    run_edge, run_origin, serve,
};
use serde_json::{Value, json};
use support::{Device, Visitor, eventually, expect_refusal, short, start, within};
use tokio::sync::oneshot;

#[tokio::test]
async fn an_origin_can_be_killed_and_come_back_with_its_records() {
    let folder = tempfile::tempdir().unwrap();
    let origin_at = |port| OriginOptions {
        port,
        data: Some(folder.path().to_owned()),
        settings: short(&[("ticket_secret", "shared")]),
        ..OriginOptions::default()
    };
    let origin = run_origin(origin_at(0)).await.unwrap();
    let edge = run_edge(EdgeOptions {
        origin_urls: vec![origin.url()],
        settings: short(&[("circuit_open_ms", "100")]),
        ..EdgeOptions::default()
    })
    .await
    .unwrap();
    let device = Device::at(&edge.url());
    let mut events = device.stream().await;
    events.expect("ready").await;
    device.write("n", 0, "kept").await;
    events.expect("sync").await;
    let port = origin.url().rsplit_once(':').unwrap().1.parse().unwrap();

    drop(origin);
    assert!(matches!(within(events.try_next()).await, Err(_) | Ok(None)));
    eventually(async || {
        let response = device.try_pull(0).await.unwrap();
        response.status() == 503
    })
    .await;

    let mut origin = None;
    eventually(async || {
        origin = run_origin(origin_at(port)).await.ok();
        origin.is_some()
    })
    .await;
    eventually(async || device.try_pull(0).await.unwrap().status() == 200).await;
    assert_eq!(device.pull(0).await.changes.len(), 1);
    edge.stop().await;
    origin.unwrap().stop().await;
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 1, "the log files are merged: the database was closed");
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let stack = Stack::builder().start().await.unwrap();
    let port = stack
        .edge_url()
        .rsplit_once(':')
        .unwrap()
        .1
        .parse()
        .unwrap();
    let taken = Stack::builder().ports(port, 0, 0).start().await;
    assert!(matches!(taken, Err(StartError::Listen { .. })), "{taken:?}");
    for url in [
        "ftp://127.0.0.1:1",
        "http://127.0.0.1:1/path",
        "nonsense",
        "",
    ] {
        let edge = run_edge(EdgeOptions {
            origin_urls: vec![url.to_owned()],
            ..EdgeOptions::default()
        });
        assert!(matches!(edge.await, Err(StartError::Url(_))), "{url}");
    }
    let mut settings = short(&[]);
    settings.circuit_threshold = 0;
    let stack = Stack::builder().settings(settings).start().await;
    assert!(matches!(stack, Err(StartError::Setting(_))));
    let file = tempfile::NamedTempFile::new().unwrap();
    let stack = Stack::builder().data(file.path()).start().await;
    assert!(matches!(stack, Err(StartError::Data { .. })), "{stack:?}");
}

#[tokio::test]
async fn faults_can_be_switched_over_http() {
    let stack = start(&[]).await;
    let device = Device::edge(&stack);
    let control = Device::at(stack.control_url());
    let list = async || -> Value {
        let response = control.send(control.get("/faults")).await;
        response.json().await.unwrap()
    };
    let listed = list().await;
    let names = listed["faults"].as_array().unwrap();
    assert_eq!(names.len(), FaultSet::all().len());
    assert!(
        names
            .iter()
            .all(|f| f["doc"].as_str().is_some_and(|d| !d.is_empty()))
    );
    assert_eq!(listed["active"], json!({}));

    let url = |name: &str| format!("{}/faults/{name}", control.url);
    let put = control.http.put(url("origin_errors"));
    let response = control.send(put.body(r#"{"rate":1,"status":503}"#)).await;
    assert_eq!(response.status(), 200);
    let response = device.try_pull(0).await.unwrap();
    let cause = Some("upstream_5xx");
    expect_refusal(response, 503, "SERVICE_UNAVAILABLE", cause).await;
    let active = &list().await["active"]["origin_errors"];
    assert_eq!(active["value"]["status"], 503);
    assert!(active["active_for_ms"].is_u64());

    let response = control
        .send(control.http.delete(url("origin_errors")))
        .await;
    assert_eq!(response.status(), 200);
    device.pull(0).await;

    let post = control.http.post(url("edge_kv_down")).body("true");
    assert_eq!(control.send(post).await.status(), 200);
    assert!(stack.faults().now().edge_kv_down);
    let reset = control.post("/reset");
    assert_eq!(control.send(reset).await.status(), 200);
    assert_eq!(*stack.faults().now(), FaultSet::default());

    let mut events = device.stream().await;
    events.expect("ready").await;
    let cut = control.http.put(url("stream_cut")).body(r#""clean""#);
    assert_eq!(control.send(cut).await.status(), 200);
    assert_eq!(within(events.try_next()).await.unwrap(), None);

    device.write("n", 0, "x").await;
    let prune = control.http.put(url("changes_pruned_through")).body("1");
    assert_eq!(control.send(prune).await.status(), 200);
    assert!(
        device.pull(0).await.reset_required,
        "done when it was answered"
    );

    for (name, body, status) in [
        ("no_such", "true", 404),
        ("edge_kv_down", "7", 400),
        ("edge_kv_down", "{", 400),
        ("origin_errors", r#"{"rate":7}"#, 400),
    ] {
        let put = control.http.put(url(name)).body(body);
        assert_eq!(
            control.send(put).await.status().as_u16(),
            status,
            "{name} {body}"
        );
    }
    let log = control.send(control.get("/requests")).await;
    let log: Value = log.json().await.unwrap();
    assert_eq!(log["requests"][0]["lane"], "pull");
    assert_eq!(log["requests"][0]["part"], "edge");
    assert_eq!(log["requests"][0]["cause"], "upstream_5xx");
    assert!(log["now_ms"].is_u64());
}

#[tokio::test]
async fn each_role_serves_its_part_and_ends_cleanly() {
    let (origin, origin_lines) = served(ServeOptions {
        role: Role::Origin,
        ..ServeOptions::default()
    })
    .await;
    assert_eq!(names(&origin_lines), ["origin", "control", "ready"]);
    let (provider, provider_lines) = served(ServeOptions {
        role: Role::Provider,
        ..ServeOptions::default()
    })
    .await;
    assert_eq!(names(&provider_lines), ["provider", "control", "ready"]);
    let (edge, edge_lines) = served(ServeOptions {
        role: Role::Edge,
        origin_urls: vec![url(&origin_lines, "origin")],
        provider_url: Some(url(&provider_lines, "provider")),
        ..ServeOptions::default()
    })
    .await;
    assert_eq!(names(&edge_lines), ["edge", "control", "ready"]);
    let edge_url = url(&edge_lines, "edge");
    Device::at(&edge_url).pull(0).await;
    Visitor::at(&edge_url)
        .connected("gemini")
        .await
        .works()
        .await;
    // What only an edge has is nowhere else.
    let control = Device::at(&url(&provider_lines, "control"));
    let response = control.send(control.post("/edge/restart")).await;
    expect_refusal(response, 404, "NOT_FOUND", None).await;
    edge.stop().await.unwrap();
    provider.stop().await.unwrap();
    origin.stop().await.unwrap();

    let (all, lines) = served(ServeOptions::default()).await;
    let every = ["edge", "origin", "provider", "control", "ready"];
    assert_eq!(names(&lines), every);
    Device::at(&url(&lines, "edge")).pull(0).await;
    all.stop().await.unwrap();
    let gone = Device::at(&url(&lines, "edge")).try_pull(0).await;
    assert!(gone.unwrap_err().is_connect());
}

struct Served {
    shutdown: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<Result<(), ServeError>>,
}

impl Served {
    async fn stop(self) -> Result<(), ServeError> {
        self.shutdown.send(()).unwrap();
        within(self.task).await.unwrap()
    }
}

async fn served(options: ServeOptions) -> (Served, Vec<String>) {
    let out = Lines::default();
    let (shutdown, wanted) = oneshot::channel();
    let writer = out.clone();
    let task = tokio::spawn(serve(options, writer, async move {
        let _ = wanted.await;
    }));
    eventually(async || out.text().ends_with("ready\n")).await;
    let lines = out.text().lines().map(str::to_owned).collect();
    (Served { shutdown, task }, lines)
}

fn names(lines: &[String]) -> Vec<&str> {
    lines.iter().map(|l| l.split(' ').next().unwrap()).collect()
}

fn url(lines: &[String], name: &str) -> String {
    let line = lines.iter().find_map(|l| l.strip_prefix(name)).unwrap();
    assert!(line.starts_with(" http://127.0.0.1:"), "{line}");
    line.trim().to_owned()
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
