//! What the app does: each function is the body of one transaction.

use std::collections::BTreeSet;

use evenkeel_proto::merge::Fields;
use evenkeel_proto::wire::{Record, UnixMillis, Version};
use serde_json::Value;

use super::error::StoreError;
use super::rows::{Session, Waiting, Wish};
use super::settle::Guard;
use super::types::{Bootstrap, Resolution};
use crate::changes::{Change, Origin};

/// What a local write came to.
pub(super) enum Written {
    /// It waits, as part of this operation.
    Queued {
        request_id: String,
        record_id: String,
    },
    /// The server has it so already.
    Done { version: Version },
}

impl Session<'_> {
    /// Writes what the app wants of a record; `None` deletes it.
    pub(super) fn write(
        &mut self,
        id: &str,
        wanted: Option<Fields>,
    ) -> Result<Written, StoreError> {
        check_id(id)?;
        if let Some(fields) = &wanted {
            check_depth(fields)?;
        }
        let view = self.view(id)?;
        let latest = self.latest(id)?;
        let conflict = self.take_conflict(id)?;
        let parked = self.take_parked(id)?;
        let folds = latest.as_ref().is_some_and(|op| op.body.is_none());
        if !folds && conflict.is_none() && parked.is_none() {
            self.check_room()?;
        }
        let now = UnixMillis(self.now_ms);
        let created_at = view.map_or(now, |record| record.created_at);
        let server = self.record(id)?;
        let mut wish = match (&latest, parked) {
            (Some(op), _) if folds => op.wish.clone(),
            (Some(sent), _) => Wish {
                base: sent.wish.fields.clone(),
                ..sent.wish.clone()
            },
            (None, Some(parked)) => parked,
            // The decision of a conflict is based on what the server has now.
            (None, None) => based_on(id, server.as_ref()),
        };
        wish.fields = wanted.map(without_ours);
        wish.created_at = created_at;
        wish.updated_at = now;
        self.changed(&wish);
        self.queue(wish, latest)
    }

    /// Writes what the app wants of those fields that it knows, and leaves the others as they are.
    pub(super) fn write_known(
        &mut self,
        id: &str,
        wanted: Fields,
        known: impl FnOnce(&Fields) -> BTreeSet<String>,
    ) -> Result<Written, StoreError> {
        let mut fields = self.view(id)?.map(|r| r.fields).unwrap_or_default();
        let known = known(&fields);
        fields.retain(|name, _| !known.contains(name));
        fields.extend(wanted);
        self.write(id, Some(fields))
    }

    /// Changes some fields of a record.
    pub(super) fn patch(&mut self, id: &str, changes: Fields) -> Result<Written, StoreError> {
        let mut fields = self.view(id)?.ok_or(StoreError::NotFound)?.fields;
        fields.extend(changes);
        self.write(id, Some(fields))
    }

    /// Takes over what the app had before there was a service; see
    /// [`SqliteStore::bootstrap`](super::SqliteStore::bootstrap).
    pub(super) fn bootstrap(&mut self, records: Vec<Record>) -> Result<Bootstrap, StoreError> {
        let mut taken = 0;
        if self.mark_bootstrapped()? {
            return Ok(Bootstrap::DoneBefore);
        }
        for record in records {
            check_id(&record.id)?;
            let known = self.record(&record.id)?.is_some() || self.is_local(&record.id)?;
            if known || record.is_deleted() {
                continue;
            }
            let mut wish = based_on(&record.id, None);
            wish.fields = Some(without_ours(record.fields));
            (wish.created_at, wish.updated_at) = (record.created_at, record.updated_at);
            self.changed(&wish);
            self.import(&wish)?;
            taken += 1;
        }
        Ok(Bootstrap::Taken { records: taken })
    }

    pub(super) fn resolve(
        &mut self,
        id: &str,
        resolution: Resolution,
    ) -> Result<Written, StoreError> {
        let local = self.take_conflict(id)?.ok_or(StoreError::NotFound)?;
        let server = self.record(id)?;
        let mut wish = based_on(id, server.as_ref());
        wish.created_at = local.created_at;
        wish.updated_at = local.updated_at;
        wish.fields = match resolution {
            Resolution::KeepServer => {
                // The view changes, to what the server has.
                wish.fields.clone_from(&wish.base);
                self.changed(&wish);
                let version = wish.base_version;
                return Ok(Written::Done { version });
            }
            Resolution::KeepLocal => local.fields,
            Resolution::Merged(fields) => {
                wish.updated_at = UnixMillis(self.now_ms);
                Some(without_ours(fields))
            }
        };
        self.changed(&wish);
        self.queue(wish, None)
    }

    /// Sends a parked write again, on top of what the server has by now.
    pub(super) fn retry(&mut self, id: &str) -> Result<Written, StoreError> {
        let wish = self.take_parked(id)?.ok_or(StoreError::NotFound)?;
        self.changed(&wish);
        let queued = self.queue(wish, None)?;
        let Written::Queued { request_id, .. } = &queued else {
            return Err(StoreError::NotFound);
        };
        let server = self.record(id)?;
        let version = server.as_ref().map_or(Version::ZERO, |s| s.version);
        if let Some(op) = self.by_request(request_id)?
            && op.wish.base_version != version
        {
            self.meet(op, server.as_ref(), Guard::Off)?;
        }
        Ok(queued)
    }

    /// Forgets a parked write: the view becomes the server's.
    pub(super) fn discard(&mut self, id: &str) -> Result<(), StoreError> {
        self.take_parked(id)?.ok_or(StoreError::NotFound)?;
        let server = self.record(id)?;
        let mut wish = based_on(id, server.as_ref());
        wish.fields.clone_from(&wish.base);
        self.changed(&wish);
        Ok(())
    }

    /// Folds the wish into the operation that waits, or makes a new one.
    fn queue(&mut self, wish: Wish, latest: Option<Waiting>) -> Result<Written, StoreError> {
        let record_id = wish.id.clone();
        match latest {
            Some(mut op) if op.body.is_none() => {
                op.wish = wish;
                op.writer = self.joined(&op.writer, self.me);
                let (request_id, version) = (op.request_id.clone(), op.wish.base_version);
                let nothing = op.wish.is_nothing();
                self.keep(&op)?;
                Ok(if nothing {
                    Written::Done { version }
                } else {
                    Written::Queued {
                        request_id,
                        record_id,
                    }
                })
            }
            Some(sent) if wish.is_nothing() => {
                self.share(&sent)?;
                Ok(Written::Queued {
                    request_id: sent.request_id,
                    record_id,
                })
            }
            None if wish.is_nothing() => Ok(Written::Done {
                version: wish.base_version,
            }),
            _ => {
                let request_id = self.enqueue(&wish)?;
                Ok(Written::Queued {
                    request_id,
                    record_id,
                })
            }
        }
    }

    fn check_room(&self) -> Result<(), StoreError> {
        let kept = self.counts()?.kept;
        if kept >= self.options.outbox_hard_max {
            return Err(StoreError::OutboxFull { kept });
        }
        Ok(())
    }

    /// Tells the client what the app sees now.
    fn changed(&mut self, wish: &Wish) {
        self.news.wrote = true;
        let deleted = wish.fields.is_none();
        let change = Change::of(&wish.id, wish.base_version, deleted, Origin::Local);
        self.news.local.push(change);
    }
}

/// The beginning of a wish: no field is wanted yet.
fn based_on(id: &str, server: Option<&Record>) -> Wish {
    let live = server.filter(|record| !record.is_deleted());
    Wish {
        id: id.to_owned(),
        base_version: server.map_or(Version::ZERO, |record| record.version),
        base: live.map(|record| record.fields.clone()),
        fields: None,
        created_at: live.map_or(UnixMillis(0), |record| record.created_at),
        updated_at: live.map_or(UnixMillis(0), |record| record.updated_at),
    }
}

/// What is nested deeper than JSON is read would be accepted, and then be unreadable, here and on every other
/// device.
fn check_depth(fields: &Fields) -> Result<(), StoreError> {
    fn fits(value: &Value, levels: usize) -> bool {
        match value {
            Value::Array(items) => levels > 0 && items.iter().all(|item| fits(item, levels - 1)),
            Value::Object(fields) => {
                levels > 0 && fields.values().all(|field| fits(field, levels - 1))
            }
            _ => true,
        }
    }
    match fields.values().all(|field| fits(field, LEVELS_MAX)) {
        true => Ok(()),
        false => Err(StoreError::Shape {
            message: format!("a field is nested more than {LEVELS_MAX} levels deep"),
        }),
    }
}

fn check_id(id: &str) -> Result<(), StoreError> {
    let fits = (1..=ID_CHARS_MAX).contains(&id.chars().count());
    fits.then_some(()).ok_or(StoreError::Id)
}

/// The names that are not the app's never travel among its fields, so they must not look changed.
fn without_ours(mut fields: Fields) -> Fields {
    fields.retain(|name, _| !OURS.contains(&name.as_str()));
    fields
}

const OURS: [&str; 5] = ["id", "version", "createdAt", "updatedAt", "deletedAt"];
const ID_CHARS_MAX: usize = 128;
/// `serde_json` reads 128 levels; pages, batches and operations have some of their own around a record.
const LEVELS_MAX: usize = 100;
