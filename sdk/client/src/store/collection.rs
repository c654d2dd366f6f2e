//! Records as the app's own types.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use evenkeel_proto::merge::Fields;
use evenkeel_proto::wire::{Record, UnixMillis, Version};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::SqliteStore;
use super::error::StoreError;
use super::handle::WriteHandle;
use super::observe::{self, Observed};
use super::types::{Page, Query};

/// The store's records as values of a type: a struct of the app's fields, as serde reads and writes
/// them. Made by [`SqliteStore::collection`].
///
/// Fields that the type does not know, from a later release of the app for instance, are kept. The
/// service's five names (`id`, `version`, `createdAt`, `updatedAt`, `deletedAt`) are no fields: they are
/// in the [`Item`].
pub struct Collection<T> {
    store: SqliteStore,
    of: PhantomData<fn(T) -> T>,
}

/// A record with its fields as a value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Item<T> {
    /// Names the record for ever.
    pub id: String,
    /// The version that the server has; 0 where it has none.
    pub version: Version,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When it was last written.
    pub updated_at: UnixMillis,
    /// The app's fields.
    pub value: T,
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Collection<T> {
    pub(super) const fn new(store: SqliteStore) -> Self {
        Self {
            store,
            of: PhantomData,
        }
    }

    /// [`SqliteStore::put`] with a value.
    ///
    /// # Errors
    ///
    /// [`StoreError::Shape`] where the value is no object in JSON; otherwise as for a bare record.
    pub async fn put(&self, id: impl Into<String>, value: &T) -> Result<WriteHandle, StoreError> {
        let new = fields(value)?;
        let id = id.into();
        self.store
            .write(move |session| session.write_known(&id, new, known_names::<T>))
            .await
    }

    /// The record as the app sees it; `None` where there is none, or it was deleted.
    ///
    /// # Errors
    ///
    /// [`StoreError::Shape`] where the record does not read as the type; see also [`StoreError`].
    pub async fn get(&self, id: impl Into<String>) -> Result<Option<Item<T>>, StoreError> {
        let record = self.store.get(id).await?;
        record.map(item).transpose()
    }

    /// A part of the records, in order.
    ///
    /// # Errors
    ///
    /// [`StoreError::Shape`] where one of them does not read as the type; see also [`StoreError`].
    pub async fn list(&self, query: Query) -> Result<Page<Item<T>>, StoreError> {
        items(self.store.list(query).await?)
    }

    /// [`SqliteStore::observe`] with a value. [`StoreError::Shape`] is an item too.
    pub fn observe(&self, id: impl Into<String>) -> Observed<Option<Item<T>>> {
        observe::record(&self.store, id.into(), |record| {
            record.map(item).transpose()
        })
    }

    /// [`SqliteStore::observe_list`] with values. [`StoreError::Shape`] is an item too.
    pub fn observe_list(&self, query: Query) -> Observed<Page<Item<T>>> {
        observe::list(&self.store, query, items)
    }
}

impl<T> Clone for Collection<T> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            of: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Collection<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collection").finish_non_exhaustive()
    }
}

fn item<T: DeserializeOwned>(record: Record) -> Result<Item<T>, StoreError> {
    let value = serde_json::from_value(Value::Object(record.fields)).map_err(shape)?;
    Ok(Item {
        id: record.id,
        version: record.version,
        created_at: record.created_at,
        updated_at: record.updated_at,
        value,
    })
}

fn items<T: DeserializeOwned>(page: Page<Record>) -> Result<Page<Item<T>>, StoreError> {
    let items = page.items.into_iter().map(item);
    Ok(Page {
        items: items.collect::<Result<_, _>>()?,
        next: page.next,
    })
}

fn fields<T: Serialize>(value: &T) -> Result<Fields, StoreError> {
    match serde_json::to_value(value).map_err(shape)? {
        Value::Object(fields) => Ok(fields),
        _ => Err(StoreError::Shape {
            message: "it is not an object in JSON".into(),
        }),
    }
}

/// Those fields of a record that the type reads, and so may leave out on purpose.
fn known_names<T: Serialize + DeserializeOwned>(fields_before: &Fields) -> BTreeSet<String> {
    let before = serde_json::from_value::<T>(Value::Object(fields_before.clone()));
    let read = before.ok().and_then(|value| fields(&value).ok());
    read.map_or_else(BTreeSet::new, |fields| {
        fields.into_iter().map(|(name, _)| name).collect()
    })
}

fn shape(error: serde_json::Error) -> StoreError {
    StoreError::Shape {
        message: error.to_string(),
    }
}
