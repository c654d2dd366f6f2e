//! A client in a process of its own is killed, sleeps, and has its clock set, under write load.

use std::path::{Path, PathBuf};
use std::time::Duration;

use evenkeel_e2e::crew::{Crew, Way};
use evenkeel_e2e::missing;
use evenkeel_e2e::process::send;
use evenkeel_e2e::scenario::{Expect, Scenario};
use evenkeel_e2e::servers;
use evenkeel_e2e::service::Service;
use rustix::process::Signal;
use tokio::time::sleep;

/// What happens to one must not show on the others.
const fn expect(fault: &'static str) -> Expect {
    Expect {
        fault,
        causes: &[],
        total: false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_killed() {
    let begun = Scenario::on_a_service(1, expect("Client: SIGKILL")).await;
    let Some((service, mut scenario)) = begun else {
        return;
    };
    send(&scenario.crew().outsider.child, Signal::KILL);
    sleep(Duration::from_secs(3)).await;
    scenario.mended(&service.postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_sleeps_for_a_minute() {
    let begun = Scenario::on_a_service(1, expect("Client: SIGSTOP for 60 s")).await;
    let Some((service, mut scenario)) = begun else {
        return;
    };
    send(&scenario.crew().outsider.child, Signal::STOP);
    sleep(Duration::from_secs(60)).await;
    send(&scenario.crew().outsider.child, Signal::CONT);
    sleep(Duration::from_secs(3)).await;
    scenario.mended(&service.postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clock_of_a_client_jumps() {
    if !servers::here() {
        return;
    }
    let Some(library) = false_clock() else {
        missing(
            "clocks that jump",
            "no libfaketime: apt-get install libfaketime",
        );
        return;
    };
    let folder = tempfile::tempdir();
    let folder = folder.unwrap_or_else(|error| panic!("a folder: {error}"));
    let clock = folder.path().join("clock");
    set(&clock, "+0");
    let (library, file) = (library.to_string_lossy(), clock.to_string_lossy());
    let service = Service::start(1, async |url| url.to_owned()).await;
    let url = service.url();
    let way = Way {
        environment: &[
            ("LD_PRELOAD", &library),
            ("FAKETIME_TIMESTAMP_FILE", &file),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ],
        ..Way::to(&url)
    };
    let crew = Crew::board(3, &way).await;
    let scenario = Scenario::begin(expect("Client: clock jumps by hours"), crew).await;
    for jump in ["+10h", "-10h", "+40d", "-3y", "+0"] {
        set(&clock, jump);
        sleep(Duration::from_secs(3)).await;
    }
    scenario.mended(&service.postgres).await;
}

fn set(clock: &Path, jump: &str) {
    if let Err(error) = std::fs::write(clock, jump) {
        panic!("{}: {error}", clock.display());
    }
}

/// Where Debian keeps the library that tells a process another time.
fn false_clock() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib")
        .into_iter()
        .flatten()
        .flatten();
    let libraries = folders.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    libraries.into_iter().find(|library| library.exists())
}
