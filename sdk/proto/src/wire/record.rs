//! One record of the app: five fields are the service's, all others are the app's.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

use super::{UnixMillis, Version};

/// A record ("note" on the wire).
///
/// Read and written by hand rather than by `flatten`: that would buffer each record a second time,
/// and a page may hold 50 MB of them.
///
/// ```
/// use evenkeel_proto::wire::{Record, Version};
/// let record: Record = serde_json::from_str(
///     r#"{"id":"n1","content":"milk","version":"3","createdAt":1,"updatedAt":2,"deletedAt":null}"#,
/// )?;
/// assert_eq!(record.version, Version(3));
/// assert_eq!(record.fields["content"], "milk");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Default, PartialEq)]
pub struct Record {
    /// Names the record for ever; at most 128 characters.
    pub id: String,
    /// Which writing of the record this is.
    pub version: Version,
    /// When it was first written; 0 where the service did not say (tombstones).
    pub created_at: UnixMillis,
    /// When it was last written; 0 where the service did not say (tombstones).
    pub updated_at: UnixMillis,
    /// When it was deleted, for a tombstone.
    pub deleted_at: Option<UnixMillis>,
    /// The app's own fields, in the order they came, unknown ones included. The service's five names
    /// in here are not written.
    pub fields: Map<String, Value>,
}

impl Record {
    /// Whether this is a tombstone.
    #[must_use]
    pub const fn is_deleted(&self) -> bool {
        self.deleted_at.is_some()
    }
}

/// Shows whose record it is and what it holds, but no content: that is personal.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("id", &self.id)
            .field("version", &self.version.0)
            .field("created_at", &self.created_at.0)
            .field("updated_at", &self.updated_at.0)
            .field("deleted_at", &self.deleted_at.map(|at| at.0))
            .field("fields", &self.fields.keys().collect::<Vec<_>>())
            .finish()
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("version", &self.version)?;
        map.serialize_entry("createdAt", &self.created_at)?;
        map.serialize_entry("updatedAt", &self.updated_at)?;
        if let Some(deleted_at) = self.deleted_at {
            map.serialize_entry("deletedAt", &deleted_at)?;
        }
        for (name, value) in &self.fields {
            if !OURS.contains(&name.as_str()) {
                map.serialize_entry(name, value)?;
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Visitor)
    }
}

struct Visitor;

impl<'de> de::Visitor<'de> for Visitor {
    type Value = Record;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record with at least an id and a version")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Record, A::Error> {
        let mut record = Record::default();
        let mut id = None;
        let mut version = None;
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "id" => id = Some(map.next_value()?),
                "version" => version = Some(map.next_value()?),
                "createdAt" => record.created_at = or_zero(map.next_value()?),
                "updatedAt" => record.updated_at = or_zero(map.next_value()?),
                "deletedAt" => record.deleted_at = map.next_value()?,
                _ => drop(record.fields.insert(name, map.next_value()?)),
            }
        }
        record.id = id.ok_or_else(|| de::Error::missing_field("id"))?;
        // Without a version nobody can tell old from new: better an error than a lost change.
        record.version = version.ok_or_else(|| de::Error::missing_field("version"))?;
        Ok(record)
    }
}

fn or_zero(time: Option<UnixMillis>) -> UnixMillis {
    time.unwrap_or_default()
}

const OURS: [&str; 5] = ["id", "version", "createdAt", "updatedAt", "deletedAt"];
