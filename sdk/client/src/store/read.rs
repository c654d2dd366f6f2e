//! What the app sees: the server's copies with the local writes on top.

use evenkeel_proto::wire::{Record, UnixMillis, Version};
use rusqlite::{OptionalExtension as _, Row, params};

use super::error::StoreError;
use super::rows::{Session, unsigned};
use super::types::{Bookmark, Order, Page, Query};

impl Session<'_> {
    /// The record as the app sees it; `None` where there is none, or it was deleted.
    pub(super) fn view(&self, id: &str) -> Result<Option<Record>, StoreError> {
        let sql = "SELECT record_id, coalesce((SELECT version FROM records WHERE id = ?1), 0), \
                   created_at, updated_at, fields FROM local WHERE record_id = ?1";
        let mut statement = self.db.prepare_cached(sql)?;
        let local = statement.query_row([id], |row| {
            let there: Option<String> = row.get(4)?;
            there.map(|_| visible(row)).transpose()
        });
        match local.optional()? {
            Some(local) => Ok(local),
            None => Ok(self.record(id)?.filter(|record| !record.is_deleted())),
        }
    }

    /// Whether the app wrote the record, and the server has not answered for that.
    pub(super) fn is_local(&self, id: &str) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM local WHERE record_id = ?1)";
        let mut statement = self.db.prepare_cached(sql)?;
        Ok(statement.query_row([id], |row| row.get(0))?)
    }

    pub(super) fn list(&self, query: &Query) -> Result<Page<Record>, StoreError> {
        let limit = query.limit.clamp(1, LIST_MAX);
        let shape = Shape::of(query.order);
        let mut statement = self.db.prepare_cached(&shape.sql(query.after.is_some()))?;
        // One more than asked for tells whether there is a next page.
        let most = i64::try_from(limit + 1).unwrap_or(i64::MAX);
        let mut rows = match &query.after {
            Some(after) => statement.query(params![most, after.key, after.id])?,
            None => statement.query([most])?,
        };
        let mut items = Vec::new();
        let mut more = false;
        while let Some(row) = rows.next()? {
            if items.len() == limit {
                more = true;
                break;
            }
            items.push(visible(row)?);
        }
        let last = items.last().filter(|_| more);
        let next = last.map(|record: &Record| Bookmark {
            key: match query.order {
                Order::NewestUpdate | Order::OldestUpdate => record.updated_at.0,
                Order::NewestCreation | Order::OldestCreation => record.created_at.0,
                Order::Id => 0,
            },
            id: record.id.clone(),
        });
        Ok(Page { items, next })
    }
}

/// How an order reads in SQL.
struct Shape {
    /// The time to order by; without one it is the id alone.
    column: Option<&'static str>,
    descending: bool,
}

impl Shape {
    const fn of(order: Order) -> Self {
        let (column, descending) = match order {
            Order::NewestUpdate => (Some("updated_at"), true),
            Order::OldestUpdate => (Some("updated_at"), false),
            Order::NewestCreation => (Some("created_at"), true),
            Order::OldestCreation => (Some("created_at"), false),
            Order::Id => (None, false),
        };
        Self { column, descending }
    }

    /// Each half is cut off by itself, so that an index can serve the server's copies.
    fn sql(&self, after: bool) -> String {
        let (direction, beyond) = if self.descending {
            ("DESC", "<")
        } else {
            ("ASC", ">")
        };
        let (place, order) = match self.column {
            Some(column) => (
                format!("AND ({column}, id) {beyond} (?2, ?3)"),
                format!("ORDER BY {column} {direction}, id {direction} LIMIT ?1"),
            ),
            None => (
                format!("AND id {beyond} ?3"),
                format!("ORDER BY id {direction} LIMIT ?1"),
            ),
        };
        let place = if after { place } else { String::new() };
        format!(
            "SELECT id, version, created_at, updated_at, fields FROM (
                SELECT * FROM (
                    SELECT id, version, created_at, updated_at, fields FROM records
                    WHERE deleted_at IS NULL AND id NOT IN (SELECT record_id FROM local) {place}
                    {order}
                )
                UNION ALL SELECT * FROM (
                    SELECT record_id AS id,
                        coalesce((SELECT version FROM records WHERE id = record_id), 0) AS version,
                        created_at, updated_at, fields FROM local
                    WHERE fields IS NOT NULL {place}
                )
            ) {order}"
        )
    }
}

/// Reads id, version, both times and fields.
fn visible(row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record {
        id: row.get(0)?,
        version: Version(unsigned(row.get(1)?)),
        created_at: UnixMillis(row.get(2)?),
        updated_at: UnixMillis(row.get(3)?),
        deleted_at: None,
        fields: super::rows::fields(row, 4)?.unwrap_or_default(),
    })
}

const LIST_MAX: usize = 1_000;
