//! The app on a real terminal, and two of them against a real service.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that fails")]

mod common;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use common::Bench;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

/// A process on a pseudo-terminal of 80 × 24, and what it would look like.
struct Pty {
    child: Child,
    ours: File,
    theirs: OwnedFd,
    bytes: Receiver<Vec<u8>>,
    screen: vt100::Parser,
    modes_before: LocalModes,
}

impl Pty {
    fn start(mut command: Command) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
        let theirs = rustix::fs::open(name, flags, rustix::fs::Mode::empty()).unwrap();
        resize(&theirs, 80, 24);
        let modes_before = tcgetattr(&theirs).unwrap().local_modes;
        let end = || Stdio::from(theirs.try_clone().unwrap());
        let child = command
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let ours = File::from(ours);
        let mut reader = ours.try_clone().unwrap();
        let (sender, bytes) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read) = reader.read(&mut buffer) {
                if read == 0 || sender.send(buffer[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            ours,
            theirs,
            bytes,
            screen: vt100::Parser::new(24, 80, 0),
            modes_before,
        }
    }

    fn press(&mut self, keys: &str) {
        self.ours.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the screen shows all of this.
    fn see(&mut self, words: &[&str]) {
        let until = Instant::now() + BOUND;
        loop {
            let screen = self.screen.screen().contents();
            if words.iter().all(|word| screen.contains(word)) {
                return;
            }
            match self
                .bytes
                .recv_timeout(until.saturating_duration_since(Instant::now()))
            {
                Ok(bytes) => self.screen.process(&bytes),
                Err(RecvTimeoutError::Timeout) => panic!("no {words:?} in:\n{screen}"),
                Err(RecvTimeoutError::Disconnected) => panic!("it ended with:\n{screen}"),
            }
        }
    }

    /// Waits for the end of the process; its exit code. The terminal must be as it was.
    fn ended(&mut self) -> Option<i32> {
        let until = Instant::now() + BOUND;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < until, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        };
        while let Ok(bytes) = self.bytes.recv_timeout(Duration::from_millis(200)) {
            self.screen.process(&bytes);
        }
        let screen = self.screen.screen();
        assert!(!screen.alternate_screen(), "the other screen is left");
        assert!(!screen.hide_cursor(), "the cursor is shown");
        assert!(!screen.bracketed_paste(), "pastes are plain again");
        let modes = tcgetattr(&self.theirs).unwrap().local_modes;
        assert_eq!(modes, self.modes_before);
        status.code()
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resize(terminal: &OwnedFd, columns: u16, rows: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size).unwrap();
}

fn app(bench: &Bench, store: &str) -> Pty {
    let mut command = bench.command(store, &[]);
    command.env("TERM", "xterm-256color");
    Pty::start(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_apps_meet_through_the_service_and_an_outage() {
    let bench = Bench::new().await;
    let mut a = app(&bench, "a.db");
    let mut b = app(&bench, "b.db");
    a.see(&["synced", "No notes yet"]);
    b.see(&["synced"]);
    a.press("nbuy milk");
    a.see(&["New note", "buy milk"]);
    a.press("\x13");
    a.see(&["synced", "buy milk", "q quit"]);
    b.see(&["buy milk"]);
    // A pulls its plug, and both write.
    a.press("o");
    a.see(&["degraded", "offline"]);
    a.press("nwritten offline\x13");
    a.see(&["[waiting] written offline", "1 waiting"]);
    b.press("nmeanwhile\x13");
    b.see(&["meanwhile", "synced"]);
    a.press("o");
    a.see(&["synced", "meanwhile"]);
    b.see(&["written offline"]);
    a.press("q");
    assert_eq!(a.ended(), Some(0));
    b.press("q");
    assert_eq!(b.ended(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_seen_and_decided_on_the_screen() {
    let bench = Bench::new().await;
    let id = bench.add("a.db", &["milk", "--title", "Shopping"]);
    let mut a = app(&bench, "a.db");
    a.see(&["synced", "Shopping"]);
    a.press("o");
    a.see(&["offline"]);
    bench.ok("b.db", &["sync"]);
    bench.ok("b.db", &["edit", &id, "--title", "Groceries"]);
    // To the title, to its end, and on.
    a.press("\r");
    a.see(&["Ctrl+S"]);
    a.press("\t!\x13");
    a.see(&["[waiting] Shopping!"]);
    a.press("o");
    a.see(&["1 in conflict (c)", "[conflict] Shopping!"]);
    a.press("c");
    a.see(&["both changed title", "> Shopping!", "> Groceries", "  milk"]);
    a.press("e");
    a.see(&["Merged"]);
    a.press("\t and Groceries\x13");
    a.see(&["Nothing is in conflict."]);
    a.press("q");
    a.see(&["synced", "Shopping! and Groceries"]);
    bench.ok("b.db", &["sync"]);
    assert_eq!(
        bench.note("b.db", &id).unwrap()["title"],
        "Shopping! and Groceries"
    );
    a.press("q");
    assert_eq!(a.ended(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_write_is_seen_with_its_reason() {
    let bench = Bench::new().await;
    let mut a = app(&bench, "a.db");
    a.see(&["synced"]);
    a.press("nmilk\t");
    a.press(&"t".repeat(513));
    a.press("\x13");
    a.see(&["1 refused (p)", "[parked]"]);
    a.press("p");
    a.see(&["title is a text of at most 512 characters"]);
    a.press("x");
    a.see(&["The server refused nothing."]);
    a.press("q");
    a.see(&["No notes yet"]);
    a.press("q");
    assert_eq!(a.ended(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_and_a_new_size_find_the_app_prepared() {
    let bench = Bench::new().await;
    let mut a = app(&bench, "a.db");
    a.see(&["synced", "q quit"]);
    resize(&a.theirs, 30, 6);
    a.press("nsmall\x13");
    a.see(&["small"]);
    let pid = rustix::process::Pid::from_child(&a.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(a.ended(), Some(0));
    // A script and the app on one store: the app shows what the script writes.
    let mut a = app(&bench, "a.db");
    a.see(&["small"]);
    let id = bench.add("a.db", &["from a script"]);
    a.see(&["from a script"]);
    bench.ok("a.db", &["rm", &id]);
    a.see(&["synced"]);
    // A script that cannot reach the service itself hears of what the app did for it.
    let mut command = common::notes(&bench.path("a.db"), &["add", "sent by the app"]);
    command.args(["--wait", "5", "--url", "http://127.0.0.1:1"]);
    command.env("EVENKEEL_TOKEN", "demo-token");
    let ran = common::Ran::of(command.output().unwrap());
    assert_eq!((ran.code, ran.verdict()), (0, "acknowledged"), "{ran:?}");
    a.see(&["sent by the app", "synced"]);
    a.press("q");
    assert_eq!(a.ended(), Some(0));
}

const BOUND: Duration = Duration::from_secs(30);
