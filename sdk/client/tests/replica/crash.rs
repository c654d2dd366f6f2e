//! A process that is killed while it writes, sends and applies answers: nothing that it was told to be
//! durable is lost, nothing that it sent is sent differently.
//!
//! The child is this test binary again, running [`child`] alone; it reports each step on its standard
//! output once the step is done.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use evenkeel::store::{SqliteStore, StoreOptions};
use evenkeel::wire::{Operation, PushAnswer, PushRequest};
use evenkeel::{Replica, ReplicaError};

use crate::bench::{ACCOUNT, ALL, Bench, Place, applied, content};

const CHILD_PATH: &str = "EVENKEEL_CRASH_TEST_STORE";
const CHILD_FROM: &str = "EVENKEEL_CRASH_TEST_FROM";
const RECORDS: u64 = 40;
const KILLS: u64 = 12;
const LINE_END: &str = " .";

/// What the children were told.
#[derive(Default)]
struct Told {
    /// The number that each record was last set to.
    written: BTreeMap<String, u64>,
    /// What was sent, and not answered for as far as the child knew.
    unanswered: BTreeMap<String, String>,
    /// An answer may have been applied that was not reported.
    answering: bool,
}

impl Told {
    fn hear(&mut self, line: &str) {
        // Without its end a line was cut by the kill.
        let Some(line) = line.strip_suffix(LINE_END) else {
            return;
        };
        let mut words = line.splitn(3, ' ');
        let (what, rest) = (words.next().unwrap(), words.collect::<Vec<_>>());
        match (what, rest.as_slice()) {
            ("wrote", [id, number]) => {
                self.written
                    .insert((*id).to_owned(), number.parse().unwrap());
            }
            ("sent", [id, body]) => {
                self.unanswered.insert((*id).to_owned(), (*body).to_owned());
            }
            ("answering", _) => self.answering = true,
            ("answered", _) => {
                self.answering = false;
                self.unanswered.clear();
            }
            _ => {}
        }
    }

    async fn check(&mut self, store: &SqliteStore, seed: u64) {
        for (id, number) in &self.written {
            let text = store.text(id).await.unwrap_or_default();
            let found: u64 = text.parse().unwrap_or(0);
            // The write after it may have been done, and not reported.
            assert!(found >= *number, "{id}: {found} < {number}, seed {seed}");
        }
        if !self.answering {
            let batch = store.take_batch(ALL).await.unwrap();
            let again = batch.map(|batch| batch.operations).unwrap_or_default();
            let again: BTreeMap<_, _> = again.iter().map(named).collect();
            for (request_id, body) in &self.unanswered {
                assert_eq!(again.get(request_id), Some(body), "seed {seed}");
            }
        }
        self.unanswered.clear();
        self.answering = false;
    }
}

fn named(operation: &Operation) -> (String, String) {
    let body = serde_json::to_string(operation).unwrap();
    (operation.request_id.clone(), body)
}

#[tokio::test]
async fn a_killed_process_loses_nothing_that_it_was_told_is_durable() {
    let place = Place::new();
    let mut told = Told::default();
    let mut heard = 0;
    for seed in 0..KILLS {
        let mut random = fastrand::Rng::with_seed(seed);
        let last = told.written.values().max().copied().unwrap_or(0);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::child", "--ignored", "--nocapture"])
            .env(CHILD_PATH, place.path())
            .env(CHILD_FROM, format!("{} {seed}", last + 1_000))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let patience = random.usize(1..200);
        for line in lines.by_ref().take(patience) {
            told.hear(&line.unwrap());
        }
        std::thread::sleep(std::time::Duration::from_micros(random.u64(0..3_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before it died; the last line may be cut.
        let rest: Vec<_> = lines.map_while(Result::ok).collect();
        rest.iter().for_each(|line| told.hear(line));
        heard += patience + rest.len();

        let opened = SqliteStore::open(place.path(), ACCOUNT, StoreOptions::default()).await;
        let store = opened.unwrap_or_else(|error| panic!("{error}, seed {seed}"));
        told.check(&store, seed).await;
        store.close().await.unwrap();
    }
    assert!(heard > 500, "the children did little: {heard} steps");
    assert!(!told.written.is_empty());
}

/// Not a test: what the killed process does.
#[tokio::test]
#[ignore = "run by the test above as a process of its own"]
async fn child() {
    let Ok(path) = std::env::var(CHILD_PATH) else {
        return;
    };
    let from = std::env::var(CHILD_FROM).unwrap();
    let (number, seed) = from.split_once(' ').unwrap();
    let mut number: u64 = number.parse().unwrap();
    let mut random = fastrand::Rng::with_seed(seed.parse().unwrap());
    let opened = SqliteStore::open(path, ACCOUNT, StoreOptions::default()).await;
    let store = opened.unwrap();
    let mut sent = None;
    loop {
        match random.u8(0..10) {
            0..7 => {
                number += 1;
                let id = format!("n{}", random.u64(0..RECORDS));
                store.put(&id, content(&number.to_string())).await.unwrap();
                say(&format!("wrote {id} {number}"));
            }
            7 => sent = send(&store).await,
            _ => {
                if let Some(batch) = sent.take() {
                    say("answering");
                    answer(&store, batch).await.unwrap();
                    say("answered");
                }
            }
        }
    }
}

async fn send(store: &SqliteStore) -> Option<PushRequest> {
    let batch = store.take_batch(ALL).await.unwrap()?;
    for (request_id, body) in batch.operations.iter().map(named) {
        say(&format!("sent {request_id} {body}"));
    }
    Some(batch)
}

async fn answer(store: &SqliteStore, batch: PushRequest) -> Result<(), ReplicaError> {
    let taken = batch.operations.iter();
    let taken = taken.map(|operation| applied(operation, operation.base_version.0 + 1));
    let answer = PushAnswer {
        applied: taken.collect(),
        ..PushAnswer::default()
    };
    store.apply_push(batch, answer).await.map(drop)
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}{LINE_END}").unwrap();
    out.flush().unwrap();
}
