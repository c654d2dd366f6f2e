//! Where a large answer waits until it has come as a whole. Its records are applied within one
//! transaction, which must not stay open for as long as a slow network takes; and memory is no place
//! for hundreds of megabytes.

use std::fs::File;
use std::io::{self, ErrorKind, Seek as _, Write as _};
use std::path::PathBuf;

use bytes::BytesMut;
use evenkeel_proto::failure::Request;
use evenkeel_proto::wire::Listing;
use evenkeel_proto::{Cause, Failure};
use tokio::task::spawn_blocking;

use super::body::Arriving;
use crate::progress::Progress;
use crate::replica::{Body, Content};

/// Keeps one answer: in memory, or in an unnamed file once it is large.
pub(crate) struct Spool {
    /// Without a directory everything stays in memory.
    dir: Option<PathBuf>,
    progress: Progress,
}

impl Spool {
    pub(crate) fn new(dir: Option<PathBuf>, progress: Progress) -> Self {
        Self { dir, progress }
    }

    /// The body of a good answer, once it is complete.
    pub(super) async fn receive<W: Listing + Send + 'static>(
        mut self,
        kind: Request,
        response: reqwest::Response,
        bytes_max: usize,
    ) -> Result<Body<W>, Failure> {
        let mut arriving = Arriving::new(response, bytes_max)?;
        let mut block = BytesMut::new();
        let mut file = None;
        while let Some(chunk) = arriving.chunk().await? {
            block.extend_from_slice(&chunk);
            if let Some(dir) = &self.dir
                && block.len() >= BLOCK_BYTES
            {
                let opened = match file.take() {
                    Some(file) => Opened::File(file),
                    None => Opened::In(dir.clone()),
                };
                let (opened, written) = append(opened, block).await?;
                (file, block) = (Some(opened), written);
            }
            self.progress.made();
        }
        let content = match file {
            None => Content::Memory(block.freeze()),
            Some(file) => {
                let (mut file, _) = append(Opened::File(file), block).await?;
                file.rewind().map_err(|error| unkept(&error))?;
                Content::File(file)
            }
        };
        Ok(Body::new(kind, arriving.headers(), content, self.progress))
    }
}

enum Opened {
    File(File),
    /// Not yet; it has to be made in this directory.
    In(PathBuf),
}

/// Writes a block on a thread that may wait for the disk; gives back the file and the room.
async fn append(opened: Opened, mut block: BytesMut) -> Result<(File, BytesMut), Failure> {
    let writing = spawn_blocking(move || {
        let mut file = match opened {
            Opened::File(file) => file,
            Opened::In(dir) => tempfile::tempfile_in(dir)?,
        };
        file.write_all(&block)?;
        block.clear();
        Ok((file, block))
    });
    let written = writing.await.unwrap_or_else(|error| Err(error.into()));
    written.map_err(|error| unkept(&error))
}

fn unkept(error: &io::Error) -> Failure {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            Failure::local(Cause::StorageFull, "no room is left for an answer")
        }
        kind => {
            let message = format!("an answer cannot be kept in a file: {kind}");
            Failure::local(Cause::StoreFailed, message)
        }
    }
}

const BLOCK_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_asks_for_room_and_anything_else_is_the_stores_failure() {
        for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded] {
            assert_eq!(unkept(&kind.into()).cause, Cause::StorageFull);
        }
        let denied = unkept(&ErrorKind::PermissionDenied.into());
        assert_eq!(denied.cause, Cause::StoreFailed);
    }
}
