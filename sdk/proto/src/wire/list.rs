//! Answers that are one long list, read item by item: a page may hold 50 MB, a snapshot has no limit,
//! and neither has to be in memory as a whole.
//!
//! Only the list is read here. Whatever else is in the answer goes through the type's own rules, so
//! that both ways of reading agree.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, StringDeserializer};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer as _, MapAccess,
    SeqAccess,
};
use serde_json::de::Read;

use super::{Change, PullPage, Record, Snapshot};

/// Why a list was not read to its end.
#[derive(Debug)]
pub enum ReadError<E> {
    /// It is not what the contract says, or could not be fetched from where it is.
    Unreadable(serde_json::Error),
    /// Whoever takes the items wants no more.
    Stopped(E),
}

/// An answer that is mostly a list.
pub trait Listing: DeserializeOwned {
    /// What the list is of.
    type Item: DeserializeOwned;
    /// The list's name on the wire.
    const LIST: &'static str;

    /// The answer with this list.
    #[must_use]
    fn with(self, items: Vec<Self::Item>) -> Self;
}

impl Listing for PullPage {
    type Item = Change;
    const LIST: &'static str = "changes";

    fn with(self, changes: Vec<Change>) -> Self {
        Self { changes, ..self }
    }
}

impl Listing for Snapshot {
    type Item = Record;
    const LIST: &'static str = "notes";

    fn with(self, notes: Vec<Record>) -> Self {
        Self { notes, ..self }
    }
}

/// Reads an answer and hands out the items of its list one by one, in the order they came. The answer
/// comes back without them; only then has it shown that it is whole, and what was handed out may be
/// believed.
///
/// `from` is a [`SliceRead`](serde_json::de::SliceRead) for bytes, or an
/// [`IoRead`](serde_json::de::IoRead), which should be buffered, for a file.
///
/// # Errors
///
/// See [`ReadError`].
///
/// ```
/// use evenkeel_proto::wire::{Change, Cursor, PullPage, ReadError, read_list};
/// use serde_json::de::SliceRead;
/// let body = br#"{"changes":[{"cursor":7,"op":"delete","note":{"id":"n","version":2}}],"nextCursor":"7"}"#;
/// let mut ids = Vec::new();
/// let take = |change: Change| {
///     ids.extend(change.note.map(|note| note.id));
///     Ok(())
/// };
/// let page: Result<PullPage, ReadError<()>> = read_list(SliceRead::new(body), take);
/// assert!(matches!(page, Ok(page) if page.next_cursor == Cursor(7)));
/// assert_eq!(ids, ["n"]);
/// ```
pub fn read_list<'de, W: Listing, E>(
    from: impl Read<'de>,
    each: impl FnMut(W::Item) -> Result<(), E>,
) -> Result<W, ReadError<E>> {
    let mut items = Items {
        each,
        stopped: None,
        item: PhantomData,
    };
    let mut json = serde_json::Deserializer::new(from);
    let whole = Whole {
        items: &mut items,
        whole: PhantomData,
    };
    let read = json.deserialize_map(whole);
    let read = read.and_then(|rest| json.end().map(|()| rest));
    match (read, items.stopped) {
        (_, Some(stopped)) => Err(ReadError::Stopped(stopped)),
        (read, None) => read.map_err(ReadError::Unreadable),
    }
}

/// Who takes the items, and whether he wants more.
struct Items<I, F, E> {
    each: F,
    stopped: Option<E>,
    item: PhantomData<I>,
}

/// Reads the answer around the list.
struct Whole<'a, W, T> {
    items: &'a mut T,
    whole: PhantomData<W>,
}

impl<'de, W, F, E> de::Visitor<'de> for Whole<'_, W, Items<W::Item, F, E>>
where
    W: Listing,
    F: FnMut(W::Item) -> Result<(), E>,
{
    type Value = W;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with the list `{}`", W::LIST)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<W, A::Error> {
        W::deserialize(MapAccessDeserializer::new(Rest {
            map,
            list: W::LIST,
            seen: false,
            items: self.items,
        }))
    }
}

/// The answer without its list, which is read when it comes by.
struct Rest<'a, A, T> {
    map: A,
    list: &'static str,
    seen: bool,
    items: &'a mut T,
}

impl<'de, A, I, F, E> MapAccess<'de> for Rest<'_, A, Items<I, F, E>>
where
    A: MapAccess<'de>,
    I: Deserialize<'de>,
    F: FnMut(I) -> Result<(), E>,
{
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        while let Some(name) = self.map.next_key::<String>()? {
            if name != self.list {
                let name: StringDeserializer<A::Error> = name.into_deserializer();
                return seed.deserialize(name).map(Some);
            }
            if std::mem::replace(&mut self.seen, true) {
                return Err(de::Error::duplicate_field(self.list));
            }
            self.map.next_value_seed(&mut *self.items)?;
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

impl<'de, I, F, E> DeserializeSeed<'de> for &mut Items<I, F, E>
where
    I: Deserialize<'de>,
    F: FnMut(I) -> Result<(), E>,
{
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de, I, F, E> de::Visitor<'de> for &mut Items<I, F, E>
where
    I: Deserialize<'de>,
    F: FnMut(I) -> Result<(), E>,
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    /// `null` is an empty list, as everywhere.
    fn visit_none<X>(self) -> Result<(), X> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(item) = list.next_element()? {
            if let Err(stopped) = (self.each)(item) {
                self.stopped = Some(stopped);
                return Err(de::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}
