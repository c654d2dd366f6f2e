//! What the app knows, and what it does to the store. The store is the truth: everything shown is read
//! from it again whenever it may have changed, and what the user is in the middle of stays.

use std::collections::HashMap;

use evenkeel::store::{Conflict, Query, Rejected, Resolution, StoreError};
use evenkeel::{Ask, Network, Record, SqliteStore, SyncClient};
use uuid::Uuid;

use super::draft::{Draft, Purpose};
use crate::commands::states;
use crate::note::{self, Fields, Note};

pub(crate) struct App {
    pub(crate) store: SqliteStore,
    pub(crate) client: SyncClient,
    pub(crate) screen: Screen,
    pub(crate) rows: Vec<Row>,
    /// The store has more notes than `rows`.
    pub(crate) more: bool,
    pub(crate) selected: usize,
    pub(crate) filter: String,
    pub(crate) conflicts: Vec<Conflict>,
    pub(crate) parked: Vec<Rejected>,
    /// In the list of conflicts or of refused writes.
    pub(crate) at: usize,
    pub(crate) offline: bool,
    pub(crate) message: Option<String>,
    pub(crate) quit: bool,
    wanted: usize,
}

pub(crate) enum Screen {
    Notes,
    Filter,
    /// Asks before this note, of this headline, is deleted.
    Delete(String, String),
    Edit(Box<Draft>),
    Conflicts,
    Parked,
    Help,
}

/// A line of the list; the text stays in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) headline: String,
    pub(crate) pinned: bool,
    pub(crate) state: &'static str,
}

impl App {
    pub(crate) fn new(store: SqliteStore, client: SyncClient) -> Self {
        Self {
            store,
            client,
            screen: Screen::Notes,
            rows: Vec::new(),
            more: false,
            selected: 0,
            filter: String::new(),
            conflicts: Vec::new(),
            parked: Vec::new(),
            at: 0,
            offline: false,
            message: None,
            quit: false,
            wanted: PAGE,
        }
    }

    /// Reads the store again; the selection stays on its note.
    pub(crate) async fn reload(&mut self) {
        if let Err(error) = self.read().await {
            self.message = Some(error.to_string());
        }
    }

    async fn read(&mut self) -> Result<(), StoreError> {
        let chosen = self.row().map(|row| row.id.clone());
        self.conflicts = self.store.conflicts().await?;
        self.parked = self.store.rejected().await?;
        let states = states(&self.store).await?;
        let wanted = self.filter.to_lowercase();
        let mut rows = Vec::new();
        let mut query = Query {
            limit: PAGE,
            ..Query::default()
        };
        loop {
            let page = self.store.list(query.clone()).await?;
            let found = page.items.iter().filter(|record| has(record, &wanted));
            rows.extend(found.map(|record| row(record, &states)));
            query.after = page.next;
            if query.after.is_none() || rows.len() >= self.wanted {
                break;
            }
        }
        self.more = query.after.is_some();
        let same = chosen.and_then(|id| rows.iter().position(|row| row.id == id));
        self.selected = same
            .unwrap_or(self.selected)
            .min(rows.len().saturating_sub(1));
        self.rows = rows;
        let last = match self.screen {
            Screen::Parked => self.parked.len(),
            _ => self.conflicts.len(),
        };
        self.at = self.at.min(last.saturating_sub(1));
        Ok(())
    }

    pub(crate) fn row(&self) -> Option<&Row> {
        self.rows.get(self.selected)
    }

    /// Selects another row, and reads on where the end of what was read comes near.
    pub(crate) async fn select(&mut self, row: usize) {
        self.selected = row.min(self.rows.len().saturating_sub(1));
        if self.more && row.saturating_add(NEAR) >= self.rows.len() {
            self.wanted = row.saturating_add(PAGE);
            self.reload().await;
            self.selected = row.min(self.rows.len().saturating_sub(1));
        }
    }

    pub(crate) async fn set_filter(&mut self, filter: String) {
        self.filter = filter;
        self.wanted = PAGE;
        self.reload().await;
    }

    pub(crate) async fn open_selected(&mut self) {
        let Some(id) = self.row().map(|row| row.id.clone()) else {
            return;
        };
        match self.store.get(&id).await {
            Ok(Some(record)) => {
                let note = Note::of(&record.fields);
                self.screen = Screen::Edit(Box::new(Draft::new(Purpose::Edit(id), note)));
            }
            Ok(None) => self.message = Some("it was deleted meanwhile".to_owned()),
            Err(error) => self.message = Some(error.to_string()),
        }
    }

    /// Saves the draft and closes it; where that fails it stays open.
    pub(crate) async fn save(&mut self) {
        let Screen::Edit(draft) = &self.screen else {
            return;
        };
        let note = draft.note();
        let changes = note.changes_since(&draft.before);
        let (saved, back) = match &draft.purpose {
            Purpose::New => (self.create(note).await, Screen::Notes),
            Purpose::Edit(id) => (self.change(id, note, changes).await, Screen::Notes),
            Purpose::Resolve(id, fields) => {
                let mut fields = fields.clone();
                fields.extend(changes);
                let resolved = self.store.resolve(id, Resolution::Merged(fields)).await;
                (resolved.map(|_| None), Screen::Conflicts)
            }
        };
        match saved {
            Ok(message) => {
                self.message = message;
                self.screen = back;
            }
            Err(error) => self.message = Some(format!("not saved: {error}")),
        }
        self.reload().await;
    }

    async fn create(&self, note: Note) -> Result<Option<String>, StoreError> {
        if note == Note::default() {
            return Ok(None);
        }
        let id = Uuid::new_v4().to_string();
        self.store.put(id, note.fields()).await.map(|_| None)
    }

    /// Writes what the user changed and nothing else: others may have written the rest meanwhile.
    async fn change(
        &self,
        id: &str,
        note: Note,
        changes: Fields,
    ) -> Result<Option<String>, StoreError> {
        if changes.is_empty() {
            return Ok(None);
        }
        match self.store.patch(id, changes).await {
            Ok(_) => Ok(None),
            // A text that somebody has just written is worth more than a deletion.
            Err(StoreError::NotFound) => {
                self.store.put(id, note.fields()).await?;
                Ok(Some("it was deleted meanwhile; it is back now".to_owned()))
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn toggle_pin(&mut self) {
        let Some(row) = self.row() else {
            return;
        };
        let change = Fields::from_iter([(note::PINNED.to_owned(), (!row.pinned).into())]);
        let done = self.store.patch(row.id.as_str(), change).await.map(drop);
        self.told(done).await;
    }

    pub(crate) async fn delete(&mut self, id: &str) {
        let done = self.store.delete(id).await.map(drop);
        self.told(done).await;
    }

    pub(crate) async fn resolve(&mut self, how: Resolution) {
        if let Some(conflict) = self.conflicts.get(self.at) {
            let done = self
                .store
                .resolve(conflict.id.as_str(), how)
                .await
                .map(drop);
            self.told(done).await;
        }
    }

    pub(crate) fn edit_merged(&mut self) {
        if let Some(conflict) = self.conflicts.get(self.at) {
            let fields = note::merged(conflict);
            let note = Note::of(&fields);
            let purpose = Purpose::Resolve(conflict.id.clone(), fields);
            self.screen = Screen::Edit(Box::new(Draft::new(purpose, note)));
        }
    }

    pub(crate) async fn retry(&mut self) {
        if let Some(parked) = self.parked.get(self.at) {
            let done = self.store.retry(parked.id.as_str()).await.map(drop);
            self.told(done).await;
        }
    }

    pub(crate) async fn discard(&mut self) {
        if let Some(parked) = self.parked.get(self.at) {
            let done = self.store.discard(parked.id.as_str()).await;
            self.told(done).await;
        }
    }

    /// The user thinks that it may work now.
    pub(crate) fn try_now(&mut self) {
        if self.client.status().ask == Ask::SignIn {
            self.client.set_token_changed();
        }
        self.client.retry_now();
        self.message = Some("trying again, as soon as the service allows".to_owned());
    }

    /// Pulls the plug, or puts it back: for a demonstration of what happens then.
    pub(crate) fn toggle_offline(&mut self) {
        self.offline = !self.offline;
        self.client.set_network(match self.offline {
            true => Network::Down,
            false => Network::Up,
        });
    }

    async fn told(&mut self, done: Result<(), StoreError>) {
        self.message = done.err().map(|error| error.to_string());
        self.reload().await;
    }
}

fn row(record: &Record, states: &HashMap<String, &'static str>) -> Row {
    let note = Note::of(&record.fields);
    Row {
        id: record.id.clone(),
        headline: note.headline(),
        pinned: note.pinned,
        state: states.get(&record.id).copied().unwrap_or_default(),
    }
}

fn has(record: &Record, wanted: &str) -> bool {
    let note = Note::of(&record.fields);
    wanted.is_empty()
        || [note.title, note.content]
            .iter()
            .any(|text| text.to_lowercase().contains(wanted))
}

const PAGE: usize = 200;
/// So many rows before the end of what was read, more is read.
const NEAR: usize = 50;
