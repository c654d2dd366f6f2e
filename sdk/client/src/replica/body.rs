//! Answers with many records, as a replica gets them: complete, but not read yet.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read, Seek as _};
use std::marker::PhantomData;

use bytes::Bytes;
use evenkeel_proto::engine::Pulled;
use evenkeel_proto::failure::Request;
use evenkeel_proto::wire::{
    self, Cursor, Listing, PULL_CHANGES_MAX, PullPage, ReadError, Record, Scale, Snapshot,
    read_list,
};
use evenkeel_proto::{Cause, Failure};
use http::HeaderMap;
use serde_json::de::{IoRead, SliceRead};
use tokio::runtime::Handle;

use super::ReplicaError;
use super::metered::{Meter, Metered, TOO_LARGE};
use crate::progress::Progress;
use crate::transport::{HEAD_BYTES, TREE_BYTES_MAX, unfolds, unreadable};

/// A page of changes. All of its bytes have come, but nobody has looked at them yet: read it within
/// the transaction that applies it, and undo that where reading fails.
///
/// In tests it is made from the bytes of an answer:
///
/// ```
/// use evenkeel::{PageBody, ReplicaError};
/// let page = PageBody::from(br#"{"changes":[],"nextCursor":7}"#.to_vec());
/// let pulled = page.read(|_change| Ok::<_, ReplicaError>(()))?;
/// assert_eq!((pulled.changes, pulled.next.0), (0, 7));
/// # Ok::<(), ReplicaError>(())
/// ```
#[derive(Debug)]
pub struct PageBody {
    body: Body<PullPage>,
    settles: Option<Cursor>,
}

/// A snapshot: every record that the service has. Else as [`PageBody`].
#[derive(Debug)]
pub struct SnapshotBody(pub(crate) Body<Snapshot>);

impl PageBody {
    pub(crate) fn new(body: Body<PullPage>) -> Self {
        let settles = None;
        Self { body, settles }
    }

    /// This page, which [settles](Self::settles) that cursor.
    #[must_use]
    pub fn settling(self, settles: Option<Cursor>) -> Self {
        Self { settles, ..self }
    }

    /// What a replica notes when it has applied this page, and [the page reaches it](Pulled::reaches): up to this
    /// cursor the log has been read again; see [`Replica::settled`](super::Replica::settled).
    #[must_use]
    pub fn settles(&self) -> Option<Cursor> {
        self.settles
    }

    /// Hands out the changes one by one, in the order they came: however large the page is, only one
    /// of them is in memory. Returns what else the page says; where that is
    /// [`reset_required`](Pulled::reset_required), what was handed out is to be undone.
    ///
    /// # Errors
    ///
    /// What `each` answers; [`ReplicaError::Unreadable`] where the page is not the contract's, which
    /// may show at its very end.
    pub fn read<E: From<ReplicaError>>(
        self,
        mut each: impl FnMut(wire::Change) -> Result<(), E>,
    ) -> Result<Pulled, E> {
        let mut changes = 0_u32;
        let page = self.body.read(|change| {
            changes = changes.saturating_add(1);
            if changes > CHANGES_MAX {
                let message = "a page of far more changes than the contract allows";
                let failure = Failure::local(Cause::ResponseTooLarge, message);
                return Err(ReplicaError::Unreadable(failure).into());
            }
            each(change)
        })?;
        Ok(Pulled {
            changes,
            next: page.next_cursor,
            reset_required: page.reset_required,
        })
    }

    /// The page as a whole, for a replica that keeps everything in memory anyway. A large one is read
    /// on a thread of tokio's, where there is one.
    ///
    /// # Errors
    ///
    /// [`ReplicaError::Unreadable`] where it is not the contract's.
    pub async fn parse(self) -> Result<PullPage, ReplicaError> {
        self.body.parse().await
    }
}

impl SnapshotBody {
    /// Hands out the records one by one, in the order they came: however large the snapshot is, only
    /// one of them is in memory. Returns the snapshot's own cursor.
    ///
    /// # Errors
    ///
    /// What `each` answers; [`ReplicaError::Unreadable`] where the snapshot is not the contract's,
    /// which may show at its very end.
    pub fn read<E: From<ReplicaError>>(
        self,
        each: impl FnMut(Record) -> Result<(), E>,
    ) -> Result<Cursor, E> {
        Ok(self.0.read(each)?.cursor)
    }

    /// The snapshot as a whole; see [`PageBody::parse`].
    ///
    /// # Errors
    ///
    /// [`ReplicaError::Unreadable`] where it is not the contract's.
    pub async fn parse(self) -> Result<Snapshot, ReplicaError> {
        self.0.parse().await
    }
}

impl From<Vec<u8>> for PageBody {
    fn from(json: Vec<u8>) -> Self {
        Self::new(Body::whole(Request::Pull, json))
    }
}

impl From<Vec<u8>> for SnapshotBody {
    fn from(json: Vec<u8>) -> Self {
        Self(Body::whole(Request::Snapshot, json))
    }
}

/// A good answer's body, and what it takes to say what is wrong with it.
pub(crate) struct Body<W> {
    kind: Request,
    headers: HeaderMap,
    content: Content,
    /// Reading may take longer than the engine waits without a sign of life.
    progress: Progress,
    what: PhantomData<fn() -> W>,
}

pub(crate) enum Content {
    Memory(Bytes),
    /// To be read from its beginning.
    File(File),
}

impl<W: Listing + Send + 'static> Body<W> {
    pub(crate) fn new(
        kind: Request,
        headers: HeaderMap,
        content: Content,
        progress: Progress,
    ) -> Self {
        Self {
            kind,
            headers,
            content,
            progress,
            what: PhantomData,
        }
    }

    fn whole(kind: Request, json: Vec<u8>) -> Self {
        let content = Content::Memory(json.into());
        Self::new(kind, HeaderMap::new(), content, Progress::none())
    }

    fn read<E: From<ReplicaError>>(
        mut self,
        mut each: impl FnMut(W::Item) -> Result<(), E>,
    ) -> Result<W, E> {
        let Self {
            content, progress, ..
        } = &mut self;
        let meter = Meter::default();
        let each = |item| {
            progress.made();
            meter.begin();
            each(item)
        };
        let read = match content {
            Content::Memory(bytes) if Scale::fits(bytes, TREE_BYTES_MAX) => {
                read_list(SliceRead::new(bytes), each)
            }
            Content::Memory(bytes) => metered(&bytes[..], &meter, each),
            Content::File(file) => metered(&*file, &meter, each),
        };
        read.map_err(|error| match error {
            ReadError::Stopped(error) => error,
            ReadError::Unreadable(error) => self.unreadable(&error).into(),
        })
    }

    async fn parse(self) -> Result<W, ReplicaError> {
        let small =
            matches!(&self.content, Content::Memory(bytes) if bytes.len() <= INLINE_BYTES_MAX);
        let parse = || {
            if let Content::Memory(bytes) = &self.content
                && !Scale::fits(bytes, TREE_BYTES_MAX + UNFOLDED_MAX * bytes.len())
            {
                return Err(ReplicaError::Unreadable(unfolds()));
            }
            let mut items = Vec::new();
            let rest = self.read(|item| {
                items.push(item);
                Ok::<_, ReplicaError>(())
            })?;
            Ok(rest.with(items))
        };
        match Handle::try_current() {
            Ok(runtime) if !small => {
                let parsing = runtime.spawn_blocking(parse).await;
                parsing.unwrap_or_else(|_| {
                    let message = "reading the answer was given up".into();
                    Err(ReplicaError::Failed { message })
                })
            }
            _ => parse(),
        }
    }

    /// What is wrong with the answer, or with the file that it is in.
    fn unreadable(&self, error: &serde_json::Error) -> ReplicaError {
        let mut head = Vec::new();
        let fetched = match (&self.content, error.io_error_kind()) {
            (_, Some(TOO_LARGE)) => return ReplicaError::Unreadable(unfolds()),
            (_, Some(kind)) => Err(kind.into()),
            (Content::Memory(bytes), None) => {
                head.extend_from_slice(&bytes[..bytes.len().min(HEAD_BYTES)]);
                Ok(())
            }
            (Content::File(file), None) => {
                let mut file: &File = file;
                let from_its_beginning = file.rewind();
                from_its_beginning
                    .and_then(|()| file.take(HEAD_BYTES as u64).read_to_end(&mut head))
                    .map(drop)
            }
        };
        match fetched {
            Ok(()) => ReplicaError::Unreadable(unreadable(self.kind, &self.headers, &head, error)),
            Err(error) => ReplicaError::Failed {
                message: format!("the answer is lost that was kept in a file: {error}"),
            },
        }
    }
}

/// Neither content nor headers: records are personal.
impl<W> fmt::Debug for Body<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.content {
            Content::Memory(_) => "memory",
            Content::File(_) => "file",
        };
        write!(f, "{:?} in {place}", self.kind)
    }
}

fn metered<W: Listing, E>(
    from: impl Read,
    meter: &Meter,
    each: impl FnMut(W::Item) -> Result<(), E>,
) -> Result<W, ReadError<E>> {
    let chunks = BufReader::with_capacity(CHUNK_BYTES, Metered::new(from, meter));
    read_list(IoRead::new(chunks), each)
}

/// Twenty times the contract's page, which another deployment may have made longer.
const CHANGES_MAX: u32 = 20 * PULL_CHANGES_MAX as u32;
/// How many bytes of structure a replica that keeps everything in memory takes for each byte that came,
/// beside what any answer may be.
const UNFOLDED_MAX: usize = 8;
const CHUNK_BYTES: usize = 64 << 10;
/// What takes longer to parse would hold others up.
const INLINE_BYTES_MAX: usize = 256 << 10;
