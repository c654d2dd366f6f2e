//! The screens, as a terminal of some size would show them, over a real store.

#![allow(clippy::unwrap_used, reason = "a test that fails")]

use std::time::Duration;

use evenkeel::store::StoreOptions;
use evenkeel::{Ask, Cause, Link, Secret, SqliteStore, SyncClient, SyncState};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use serde_json::json;
use tempfile::TempDir;

use super::badge::Badge;
use super::model::{App, Screen};
use super::view;
use crate::note::{Fields, Note};

struct Bench {
    app: App,
    badge: Badge,
    _folder: TempDir,
}

impl Bench {
    /// An app whose client is not started: the store alone.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.db");
        let mut options = StoreOptions::default();
        options.durability = evenkeel::store::Durability::Fast;
        options.outbox_hard_max = 10_000;
        let store = SqliteStore::open(path, "demo", options).await.unwrap();
        let client = SyncClient::builder("http://127.0.0.1:1")
            .token(Secret::new("t"))
            .replica(store.clone())
            .build()
            .unwrap();
        Self {
            badge: Badge::of(&client.status()),
            app: App::new(store, client),
            _folder: folder,
        }
    }

    async fn put(&mut self, id: &str, title: &str, content: &str) {
        let note = Note {
            title: title.to_owned(),
            content: content.to_owned(),
            pinned: false,
        };
        self.app.store.put(id, note.fields()).await.unwrap();
        self.app.reload().await;
    }

    /// Presses keys, named as in a help line.
    async fn press(&mut self, keys: &[&str]) {
        for key in keys {
            let (code, modifiers) = match *key {
                "Enter" => (KeyCode::Enter, KeyModifiers::NONE),
                "Esc" => (KeyCode::Esc, KeyModifiers::NONE),
                "Tab" => (KeyCode::Tab, KeyModifiers::NONE),
                "Down" => (KeyCode::Down, KeyModifiers::NONE),
                "^S" => (KeyCode::Char('s'), KeyModifiers::CONTROL),
                text => {
                    for c in text.chars() {
                        let key = KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE);
                        self.app.event(Event::Key(key)).await;
                    }
                    continue;
                }
            };
            self.app
                .event(Event::Key(KeyEvent::new(code, modifiers)))
                .await;
        }
    }

    fn screen(&self) -> String {
        self.screen_of(80, 24)
    }

    fn screen_of(&self, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal
            .draw(|frame| view::draw(frame, &self.app, &self.badge))
            .unwrap();
        let buffer = terminal.backend().buffer();
        let rows = buffer.content().chunks(usize::from(width.max(1)));
        let rows = rows.map(|row| {
            row.iter()
                .map(ratatui::buffer::Cell::symbol)
                .collect::<String>()
        });
        rows.map(|row| row.trim_end().to_owned() + "\n").collect()
    }

    fn shows(&self, words: &[&str]) {
        let screen = self.screen();
        for word in words {
            assert!(screen.contains(word), "{word} is missing in:\n{screen}");
        }
    }

    async fn fields(&self, id: &str) -> Fields {
        self.app.store.get(id).await.unwrap().unwrap().fields
    }
}

#[tokio::test]
async fn a_note_is_written_listed_changed_and_deleted() {
    let mut bench = Bench::new().await;
    bench.shows(&["No notes yet: press n."]);
    bench
        .press(&["n", "milk", "Enter", "eggs", "Tab", "Shopping", "^S"])
        .await;
    bench.shows(&["[waiting] Shopping", "n new"]);
    let id = bench.app.rows[0].id.clone();
    assert_eq!(bench.fields(&id).await["content"], "milk\neggs");
    bench.press(&["Enter"]).await;
    bench.shows(&["Shopping", "milk", "eggs", "Ctrl+S save"]);
    bench.press(&[" and bread", "Esc"]).await;
    bench.shows(&["not saved"]);
    bench.press(&["Esc"]).await;
    assert_eq!(bench.fields(&id).await["content"], "milk\neggs");
    bench.press(&["*"]).await;
    bench.shows(&["* [waiting] Shopping"]);
    bench.press(&["d"]).await;
    bench.shows(&["delete \"Shopping\"? y/n"]);
    bench.press(&["n"]).await;
    assert_eq!(bench.app.rows.len(), 1);
    bench.press(&["d", "y"]).await;
    bench.shows(&["No notes yet"]);
}

#[tokio::test]
async fn a_draft_survives_changes_from_elsewhere_and_writes_only_its_own() {
    let mut bench = Bench::new().await;
    bench.put("n1", "Shopping", "milk").await;
    bench.put("n2", "Other", "text").await;
    bench.press(&["Down", "Enter", ", eggs"]).await;
    // Somebody else gives it another title and a due date.
    let theirs = json!({"title": "Groceries", "dueDate": 5});
    let theirs = theirs.as_object().unwrap().clone();
    bench.app.store.patch("n1", theirs).await.unwrap();
    bench.app.reload().await;
    bench.shows(&["Shopping", "milk, eggs"]);
    bench.press(&["^S"]).await;
    let fields = bench.fields("n1").await;
    assert_eq!(fields["title"], "Groceries");
    assert_eq!(fields["content"], "milk, eggs");
    assert_eq!(fields["dueDate"], 5);

    let at = bench
        .app
        .rows
        .iter()
        .position(|row| row.id == "n1")
        .unwrap();
    bench.app.select(at).await;
    bench.press(&["Enter", "!"]).await;
    bench.app.store.delete("n1").await.unwrap();
    bench.press(&["^S"]).await;
    bench.shows(&["it was deleted meanwhile; it is back now"]);
    assert_eq!(bench.fields("n1").await["content"], "milk, eggs!");
}

#[tokio::test]
async fn the_selection_stays_on_its_note_when_others_come_and_go() {
    let mut bench = Bench::new().await;
    for n in 0..5 {
        bench.put(&format!("n{n}"), &format!("note {n}"), "x").await;
    }
    bench.press(&["Down", "Down"]).await;
    let chosen = bench.app.row().unwrap().id.clone();
    bench.put("new", "new", "x").await;
    bench.app.store.delete("n4").await.unwrap();
    bench.app.reload().await;
    assert_eq!(bench.app.row().unwrap().id, chosen);
    bench.app.store.delete(chosen).await.unwrap();
    bench.app.reload().await;
    assert!(bench.app.row().is_some());
}

#[tokio::test]
async fn thousands_of_notes_are_read_as_they_are_looked_at() {
    let mut bench = Bench::new().await;
    for n in 0..2_000 {
        let note = Note {
            content: format!("note {n:04}"),
            ..Note::default()
        };
        bench
            .app
            .store
            .put(format!("n{n}"), note.fields())
            .await
            .unwrap();
    }
    bench.app.reload().await;
    assert!(bench.app.more && bench.app.rows.len() < 400);
    for _ in 0..60 {
        bench.app.select(bench.app.selected + 10).await;
    }
    assert_eq!(bench.app.selected, 600);
    bench.press(&["G"]).await;
    assert_eq!((bench.app.rows.len(), bench.app.selected), (2_000, 1_999));
    bench.press(&["/", "note 0042", "Enter"]).await;
    assert_eq!(bench.app.rows.len(), 1);
    bench.shows(&["note 0042", "only \"note 0042\""]);
    bench.press(&["Esc", "g"]).await;
    assert!(bench.app.rows.len() > 1);
}

#[tokio::test]
async fn pasted_and_foreign_text_is_taken_as_text() {
    let mut bench = Bench::new().await;
    bench.press(&["n"]).await;
    bench
        .app
        .event(Event::Paste("日本語\r\n🦀 crab\rend".into()))
        .await;
    bench.press(&["Tab"]).await;
    bench.app.event(Event::Paste("one\ntwo".into())).await;
    bench.screen_of(7, 5);
    bench.press(&["^S"]).await;
    let id = bench.app.rows[0].id.clone();
    let fields = bench.fields(&id).await;
    assert_eq!(fields["content"], "日本語\n🦀 crab\nend");
    assert_eq!(fields["title"], "one two");
    // A title that would clear the reader's screen, and one of another kind.
    bench.put("evil", "\u{1b}[2J\u{7}title", "x").await;
    let odd = json!({"title": 5, "content": ["x"], "isPinned": "yes"});
    bench
        .app
        .store
        .put("odd", odd.as_object().unwrap().clone())
        .await
        .unwrap();
    bench.app.reload().await;
    assert!(!bench.screen().contains('\u{1b}'));
    bench.shows(&["title", "(empty)", "one two"]);
}

#[tokio::test]
async fn every_screen_fits_every_size() {
    let mut bench = Bench::new().await;
    bench.put("n1", "日本語のノート🦀", "milk\neggs").await;
    bench.badge = degraded();
    for keys in [
        &[][..],
        &["/"],
        &["x", "Esc", "d"],
        &["n", "Enter"],
        &["Esc", "c"],
        &["Esc", "p"],
        &["Esc", "?"],
    ] {
        bench.press(keys).await;
        for width in [0, 1, 2, 5, 20, 80, 200] {
            for height in [0, 1, 2, 3, 10, 24, 60] {
                bench.screen_of(width, height);
            }
        }
    }
}

fn degraded() -> Badge {
    Badge {
        state: SyncState::Degraded,
        cause: Some(Cause::CircuitOpen),
        link: Link::Polling,
        next: Some(Duration::from_millis(11_200)),
        waiting: 3,
        conflicts: 2,
        parked: 1,
        ask: Ask::SignIn,
        at_rest: false,
    }
}

#[tokio::test]
async fn the_badge_tells_state_cause_countdown_and_what_waits() {
    let mut bench = Bench::new().await;
    bench.badge = Badge {
        ask: Ask::None,
        ..degraded()
    };
    let first = bench.screen().lines().next().unwrap().to_owned();
    assert_eq!(
        first,
        " degraded  the service is in trouble · next try in 12 s · 3 waiting · 2 in conflict (c) ·"
            .chars()
            .take(80)
            .collect::<String>()
            .trim_end()
    );
    bench.badge.ask = Ask::SignIn;
    bench.shows(&["put a fresh token"]);
    bench.badge = Badge {
        state: SyncState::Synced,
        cause: None,
        link: Link::Stream,
        next: None,
        waiting: 0,
        conflicts: 0,
        parked: 0,
        ask: Ask::None,
        at_rest: false,
    };
    assert_eq!(bench.screen().lines().next().unwrap(), " synced");
    assert!(Cause::ALL.iter().all(|cause| {
        bench.badge.cause = Some(*cause);
        !bench.badge.words().is_empty()
    }));
    assert!(matches!(bench.app.screen, Screen::Notes));
}
