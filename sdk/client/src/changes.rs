//! What was applied to the replica, as it happens.

use evenkeel_proto::wire::Version;
use serde::Serialize;
use tokio::sync::broadcast;

use crate::follow::Follow;

/// Something was applied to the replica. It carries no content, so that waiting changes stay small:
/// read the record from the replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum Change {
    /// A record is new or has new content.
    Upserted {
        /// Which one.
        id: String,
        /// The version it has now; unchanged by a local write.
        version: Version,
        /// Who did it.
        origin: Origin,
    },
    /// A record was deleted.
    Deleted {
        /// Which one.
        id: String,
        /// The version it has now; unchanged by a local write.
        version: Version,
        /// Who did it.
        origin: Origin,
    },
    /// A snapshot took the place of everything: read all again.
    Replaced {
        /// How many records there are now.
        records: u64,
    },
    /// Another process worked on the store, which may have changed any record: read again what is
    /// shown. Comes at most twice a second.
    Elsewhere,
}

impl Change {
    /// What became of one record.
    pub(crate) fn of(id: &str, version: Version, deleted: bool, origin: Origin) -> Self {
        let id = id.to_owned();
        if deleted {
            Self::Deleted {
                id,
                version,
                origin,
            }
        } else {
            Self::Upserted {
                id,
                version,
                origin,
            }
        }
    }
}

/// Where a change came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// This app.
    Local,
    /// The server.
    Remote,
}

/// This reader was slower than the changes came, and missed some. Read the replica again; the stream
/// goes on with the oldest change that was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{missed} change(s) were missed")]
pub struct Lagged {
    /// How many.
    pub missed: u64,
}

/// The changes from now on. Ends when the client is dropped. Made by
/// [`changes`](crate::SyncClient::changes).
#[must_use = "a stream gives nothing unless it is read"]
#[derive(Debug)]
pub struct Changes(Follow<broadcast::Receiver<Change>, Result<Change, Lagged>>);

impl Changes {
    pub(crate) fn new(changes: broadcast::Receiver<Change>) -> Self {
        Self(Follow::new(changes, |changes| Box::pin(step(changes))))
    }

    /// The next change; `None` once the client is gone. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Change, Lagged>> {
        self.0.next().await
    }
}

async fn step(
    mut changes: broadcast::Receiver<Change>,
) -> (Option<Result<Change, Lagged>>, broadcast::Receiver<Change>) {
    let item = match changes.recv().await {
        Ok(change) => Some(Ok(change)),
        Err(broadcast::error::RecvError::Lagged(missed)) => Some(Err(Lagged { missed })),
        Err(broadcast::error::RecvError::Closed) => None,
    };
    (item, changes)
}

impl futures_core::Stream for Changes {
    type Item = Result<Change, Lagged>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_next(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_that_lags_is_told_how_much_it_missed() {
        let (sender, receiver) = broadcast::channel(4);
        let mut changes = Changes::new(receiver);
        for records in 0..10 {
            sender.send(Change::Replaced { records }).unwrap();
        }
        assert_eq!(changes.next().await, Some(Err(Lagged { missed: 6 })));
        let next = changes.next().await;
        assert_eq!(next, Some(Ok(Change::Replaced { records: 6 })));
        drop(sender);
        for _ in 0..3 {
            assert!(changes.next().await.unwrap().is_ok());
        }
        assert_eq!(changes.next().await, None);
    }
}
