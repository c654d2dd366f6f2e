//! What the app makes of a record.

use evenkeel::Record;
use evenkeel::store::Conflict;
use serde_json::{Map, Value, json};

/// The app's fields of a record.
pub(crate) type Fields = Map<String, Value>;

/// The fields that this app shows and writes. A record has more, of other apps and later releases;
/// they are left as they are, and one of an unexpected kind must not hide the note. An app that
/// owns all of its fields would have a serde type and [`SqliteStore::collection`] instead.
///
/// [`SqliteStore::collection`]: evenkeel::SqliteStore::collection
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) title: String,
    pub(crate) content: String,
    pub(crate) pinned: bool,
}

impl Note {
    pub(crate) fn of(fields: &Fields) -> Self {
        let text = |name| fields.get(name).and_then(Value::as_str).unwrap_or_default();
        Self {
            title: text(TITLE).to_owned(),
            content: text(CONTENT).to_owned(),
            pinned: fields.get(PINNED).and_then(Value::as_bool) == Some(true),
        }
    }

    /// All of it, for a new note.
    pub(crate) fn fields(&self) -> Fields {
        let mut fields = self.changes_since(&Self::default());
        fields.insert(CONTENT.into(), self.content.as_str().into());
        fields.insert(PINNED.into(), self.pinned.into());
        fields
    }

    /// What has to be written to make a note that was `before` this one: others may have changed the
    /// rest meanwhile.
    pub(crate) fn changes_since(&self, before: &Self) -> Fields {
        let mut fields = Fields::new();
        if self.title != before.title {
            fields.insert(TITLE.into(), self.title.as_str().into());
        }
        if self.content != before.content {
            fields.insert(CONTENT.into(), self.content.as_str().into());
        }
        if self.pinned != before.pinned {
            fields.insert(PINNED.into(), self.pinned.into());
        }
        fields
    }

    /// One line to know it by, without what would command a terminal.
    pub(crate) fn headline(&self) -> String {
        let lines = [self.title.as_str()]
            .into_iter()
            .chain(self.content.lines());
        let mut lines = lines.map(str::trim).filter(|line| !line.is_empty());
        let line = lines.next().unwrap_or("(empty)");
        let shown = line.chars().take(HEADLINE_CHARS_MAX);
        shown
            .map(|c| if c.is_control() { '\u{fffd}' } else { c })
            .collect()
    }
}

/// Both sides of a conflict as far as they agree: where only one side changed a field, that change;
/// where they clash, ours. The rest of the record is the server's.
pub(crate) fn merged(conflict: &Conflict) -> Fields {
    let none = Fields::new();
    let base = conflict.base.as_ref().unwrap_or(&none);
    let ours = conflict
        .local
        .as_ref()
        .map_or(&none, |record| &record.fields);
    let theirs = conflict
        .server
        .as_ref()
        .map_or(&none, |record| &record.fields);
    let mut fields = theirs.clone();
    let names = ours.keys().chain(base.keys());
    for name in names.filter(|name| ours.get(*name) != base.get(*name)) {
        match ours.get(name) {
            Some(value) => fields.insert(name.clone(), value.clone()),
            // A deletion clashes as a whole: what they have is the place to begin.
            None if conflict.local.is_none() => None,
            None => fields.remove(name),
        };
    }
    fields
}

/// A note as a line of `--json`, without its state.
pub(crate) fn line(record: &Record) -> Value {
    let note = Note::of(&record.fields);
    json!({
        "id": record.id,
        "version": record.version,
        "created_at_ms": record.created_at,
        "updated_at_ms": record.updated_at,
        "title": note.title,
        "content": note.content,
        "pinned": note.pinned,
    })
}

pub(crate) const TITLE: &str = "title";
pub(crate) const CONTENT: &str = "content";
pub(crate) const PINNED: &str = "isPinned";
const HEADLINE_CHARS_MAX: usize = 200;
