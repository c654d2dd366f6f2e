//! SQLite on a thread of its own: whoever waits for it waits without holding up others.

use std::future::Future;
use std::io;
use std::path::Path;

use rusqlite::{Connection, Transaction};
use tokio::sync::{mpsc, oneshot, watch};

use super::schema;
use crate::store::DatabaseError;

/// One connection and its thread, which ends soon after this value has been dropped.
#[derive(Debug)]
pub(crate) struct Worker {
    jobs: mpsc::Sender<Job>,
    open: watch::Receiver<()>,
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

impl Worker {
    /// Opens a file, creating it where need be, or a database in memory, and brings it up to the last
    /// of `steps`.
    pub(crate) fn start(file: Option<&Path>, steps: &[&str]) -> Result<Self, DatabaseError> {
        let connection = match file {
            Some(file) => Connection::open(file),
            None => Connection::open_in_memory(),
        };
        let mut connection = connection?;
        schema::migrate(&mut connection, steps)?;
        let (jobs, mut queue) = mpsc::channel::<Job>(JOBS_MAX);
        let (open, closed) = watch::channel(());
        std::thread::Builder::new()
            .name("stack-sqlite".to_owned())
            .spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    job(&mut connection);
                }
                drop(connection);
                drop(open);
            })
            .map_err(|error: io::Error| DatabaseError::Failed(error.to_string()))?;
        Ok(Self { jobs, open: closed })
    }

    /// Returns once the file is closed.
    pub(crate) fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut open = self.open.clone();
        async move { while open.changed().await.is_ok() {} }
    }

    /// Runs one transaction; an error keeps nothing of it.
    pub(crate) async fn transact<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, DatabaseError> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // Nobody waiting for it any more does not make the work undone.
            let _ = answer.send(in_transaction(connection, work));
        });
        let gone = || DatabaseError::Failed("its thread is gone".to_owned());
        self.jobs.send(job).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

fn in_transaction<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, DatabaseError>,
) -> Result<T, DatabaseError> {
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let done = work(&transaction)?;
    transaction.commit()?;
    Ok(done)
}

const JOBS_MAX: usize = 256;
