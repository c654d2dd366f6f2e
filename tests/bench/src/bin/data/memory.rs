//! What a process holds that does nothing but stay in sync. Each in a process of its own.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use evenkeel::SyncState;
use evenkeel::store::{Durability, Query};

use crate::records::{PAGE_CHANGES, page};
use crate::service::Service;
use crate::{bare, client, open};

pub fn run() {
    let pages = (0..PAGES as u64).map(|n| page(n * PAGE_CHANGES));
    let service = Service::start(pages.collect());
    println!("\n| process | its own memory | resident | largest resident |");
    println!("|---|--:|--:|--:|");
    let all = [
        ("tokio and reqwest, one request answered", "bare", 0),
        ("`SqliteStore` open, no client", "store", 0),
        (
            "`SyncClient` on `SqliteStore`, synced, no records",
            "client",
            0,
        ),
        ("the same after it pulled 10,000 records", "client", PAGES),
        ("the same, and listed 1,000 of them", "reader", PAGES),
    ];
    for (what, measured, pages) in all {
        service.show(pages);
        let mut child = Command::new(std::env::current_exe().expect("a path"))
            .args([measured, &service.url])
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let told = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let told: Vec<String> = told.map_while(Result::ok).collect();
        assert!(child.wait().expect("an end").success(), "{measured}");
        println!("| {what} | {} |", told.join(" | "));
    }
}

pub async fn child(measured: &str, url: &str) {
    let dir = tempfile::tempdir().expect("a directory");
    if measured == "bare" {
        let http = bare::http();
        let request = http.get(format!("{url}/api/v2/sync/pull?cursor=0"));
        let answer = request.send().await.expect("an answer");
        answer.bytes().await.expect("a body");
        return tell();
    }
    let store = open(dir.path(), Durability::Full).await;
    if measured == "store" {
        return tell();
    }
    let client = client(url, &store);
    let mut statuses = client.status_changes();
    client.start().expect("started");
    while client.status().state != SyncState::Synced {
        statuses.next().await.expect("a status");
    }
    if measured == "reader" {
        let query = Query {
            limit: 1_000,
            ..Query::default()
        };
        let listed = store.list(query).await.expect("a list");
        assert_eq!(listed.items.len(), 1_000);
    }
    tell();
    client.stop().await;
}

fn tell() {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    for name in ["RssAnon:", "VmRSS:", "VmHWM:"] {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kib: f64 = kib.expect("a size").parse().expect("a number");
        println!("{:.1} MiB", kib / 1024.0);
    }
}

const PAGES: usize = 20;
