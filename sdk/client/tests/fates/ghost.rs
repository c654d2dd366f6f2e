//! What the app was promised, kept beside the store: every accepted write is visible to the app, or was
//! at the server, or was given up by the app itself.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::server::{Past, Server};

/// What one write wanted of one record.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    /// Which of the client's writes.
    pub(crate) write: u32,
    pub(crate) id: String,
    pub(crate) what: Wanted,
    /// A later write of the same client, or a decision of the app's, took its place.
    over: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Wanted {
    Field {
        name: String,
        value: Value,
    },
    /// The record deleted, which the client knew in this version. Where it was a new one of its own
    /// (when the record had so many writings), only that has to go: what others made by the same id
    /// was never seen.
    Gone {
        known: u64,
        made: Option<usize>,
    },
}

#[derive(Default)]
pub(crate) struct Ghost {
    intents: Vec<Intent>,
    writes: u32,
    /// Records that are new here, and how many writings they had at the server by then.
    made: BTreeMap<String, usize>,
}

impl Ghost {
    /// Notes a write that changes these fields and leaves the others.
    pub(crate) fn patched(&mut self, id: &str, changes: &Map<String, Value>) -> u32 {
        self.writes += 1;
        for (name, value) in changes {
            for intent in self.intents.iter_mut().filter(|i| i.id == id) {
                let same = matches!(&intent.what, Wanted::Field { name: n, .. } if n == name);
                intent.over |= same || matches!(intent.what, Wanted::Gone { .. });
            }
            let what = Wanted::Field {
                name: name.clone(),
                value: value.clone(),
            };
            self.push(id, what);
        }
        self.writes
    }

    /// Notes a write of the whole record; of one that the app did not see, with how many writings it
    /// had at the server.
    pub(crate) fn put(
        &mut self,
        id: &str,
        fields: &Map<String, Value>,
        new_after: Option<usize>,
    ) -> u32 {
        self.decided(id);
        if let Some(after) = new_after {
            self.made.entry(id.to_owned()).or_insert(after);
        }
        self.patched(id, fields)
    }

    pub(crate) fn deleted(&mut self, id: &str, known: u64) -> u32 {
        self.decided(id);
        self.writes += 1;
        let made = self.made.get(id).copied();
        self.push(id, Wanted::Gone { known, made });
        self.writes
    }

    /// The app itself gave up what it wanted of the record.
    pub(crate) fn decided(&mut self, id: &str) {
        for intent in self.intents.iter_mut().filter(|i| i.id == id) {
            intent.over = true;
        }
    }

    /// What is neither at the server (or was), nor overtaken: by record.
    pub(crate) fn open(&mut self, server: &Server, me: usize) -> BTreeMap<String, Vec<Intent>> {
        self.intents.retain(|i| !i.over && !landed(i, server, me));
        self.made
            .retain(|id, after| !made_it(server, id, *after, me));
        let mut open: BTreeMap<String, Vec<Intent>> = BTreeMap::new();
        for intent in &self.intents {
            open.entry(intent.id.clone())
                .or_default()
                .push(intent.clone());
        }
        open
    }

    /// Whether anything of that write is still open.
    pub(crate) fn waits(&self, server: &Server, me: usize, write: u32) -> Option<&Intent> {
        let mut of = self.intents.iter().filter(|i| i.write == write && !i.over);
        of.find(|i| !landed(i, server, me))
    }

    /// The write turned out to have nothing to do.
    pub(crate) fn nothing_to_do(&mut self, write: u32) {
        self.intents.retain(|i| i.write != write);
    }

    fn push(&mut self, id: &str, what: Wanted) {
        self.intents.push(Intent {
            write: self.writes,
            id: id.to_owned(),
            what,
            over: false,
        });
    }
}

impl Intent {
    /// Whether this is what the app sees.
    pub(crate) fn shows(&self, view: Option<&Map<String, Value>>) -> bool {
        match &self.what {
            Wanted::Field { name, value } => view.is_some_and(|v| v.get(name) == Some(value)),
            Wanted::Gone { .. } => view.is_none(),
        }
    }
}

fn landed(intent: &Intent, server: &Server, me: usize) -> bool {
    let Some(past) = server.past.get(&intent.id) else {
        // A record that never was is gone.
        return matches!(intent.what, Wanted::Gone { known: 0, .. });
    };
    match &intent.what {
        Wanted::Field { name, value } => {
            let has = |p: &Past| {
                p.fields
                    .as_ref()
                    .is_some_and(|f| f.get(name) == Some(value))
            };
            past.iter().any(has)
        }
        Wanted::Gone { known, made } => {
            // What it knew may have been deleted already, with an edit of its own on top.
            let first = *known + u64::from(made.is_some());
            let gone = past
                .iter()
                .any(|p| p.version >= first && p.fields.is_none());
            gone || made.is_some_and(|after| !made_it(server, &intent.id, after, me))
        }
    }
}

/// Whether the client itself wrote the record since it had so many writings.
fn made_it(server: &Server, id: &str, after: usize, me: usize) -> bool {
    let past = server.past.get(id).and_then(|past| past.get(after..));
    past.is_some_and(|past| past.iter().any(|p| p.by == Some(me)))
}
