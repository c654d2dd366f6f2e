//! How processes that share a replica take turns at syncing it.

use std::future::Future;
use std::pin::Pin;

use super::ReplicaFuture;

/// The right to sync a replica that several processes have open: one holds it at a time.
///
/// The client takes it before it sends anything, lets it go when it is suspended or stopped, and shows
/// its holder's status while another process has it. Whatever the client does to a replica without
/// holding it (a frozen process that wakes up does not know yet) must change nothing and answer
/// [`ReplicaError::LeaseLost`](super::ReplicaError::LeaseLost).
pub trait Lease: Send + Sync {
    /// Takes the lease if nobody has it, or its holder is gone, and opens the files again after
    /// [`suspend`](Self::suspend). Called about twice a second while another process holds it.
    fn hold(&self) -> ReplicaFuture<'_, Hold>;

    /// Resolves when this process does not hold the lease (any more).
    fn lost(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// Shows the other processes the status of the holder's client; nothing where this process is not
    /// the holder. A text that [`Hold::Theirs`] gives back. Called often, so it must not block.
    fn publish(&self, status: String);

    /// Asks the holder in another process to sync now. The question's number: each is higher than those
    /// before, whoever asked.
    fn ask(&self) -> ReplicaFuture<'_, u64>;

    /// As the holder: the number of the last question that came, those that the holder before left
    /// open included; 0 for none. [`ReplicaSignal::asked`](super::ReplicaSignal::asked) tells when it
    /// rises. Called often, so it must not block.
    fn asked(&self) -> u64;

    /// As the holder: everything is here that the server had when this question came. Shown to the others
    /// with the status; like that it must not block.
    fn answer(&self, question: u64);

    /// Lets the lease go, for another process to take. Once polled it happens, whoever waits.
    fn release(&self) -> ReplicaFuture<'_, ()>;

    /// Lets the lease go and closes all files until the next [`hold`](Self::hold); what the replica is
    /// doing for the client is interrupted. Resolves when no lock is left.
    fn suspend(&self) -> ReplicaFuture<'_, ()>;
}

/// Who holds the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// This process.
    Ours {
        /// Nobody else held it since this process last did: what it knew then still holds.
        undisturbed: bool,
    },
    /// Another one.
    Theirs {
        /// What its client published last.
        status: Option<String>,
        /// Up to which question holders have [answered](Lease::answer).
        answered: u64,
    },
}
