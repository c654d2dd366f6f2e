//! What goes wrong, and how often.

use fastrand::Rng;

/// Chances in percent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// A request does not arrive; its sender is told.
    pub(crate) request_lost: u8,
    /// A request has its effect, and its sender is told that it failed.
    pub(crate) answer_lost: u8,
    /// Nobody ever answers; half of these requests had their effect.
    pub(crate) silence: u8,
    /// 503 before anything was done.
    pub(crate) refused: u8,
    /// 503 in the middle of a batch.
    pub(crate) batch_cut: u8,
    /// An operation of a batch is in neither list.
    pub(crate) left_out: u8,
    /// An operation's cursor is taken seconds before it is committed.
    pub(crate) late_commit: u8,
    /// A proxy sends a request twice.
    pub(crate) twice: u8,
    /// A request takes long to arrive, or its answer to come.
    pub(crate) slow: u8,
    /// The client takes long to apply an answer.
    pub(crate) slow_apply: u8,
    /// An answer is applied twice.
    pub(crate) applied_twice: u8,
    pub(crate) news_lost: u8,
    pub(crate) news_repeated: u8,
    pub(crate) news_late: u8,
    /// A stream ends when it should bring news.
    pub(crate) stream_cut: u8,
}

impl Faults {
    /// Few kinds at a time, so that each has its chance to matter.
    pub(crate) fn random(rng: &mut Rng) -> Self {
        let mut chance = |most: u8| {
            if rng.u8(0..5) < 2 {
                rng.u8(1..=most)
            } else {
                0
            }
        };
        Self {
            request_lost: chance(40),
            answer_lost: chance(60),
            silence: chance(20),
            refused: chance(40),
            batch_cut: chance(40),
            left_out: chance(40),
            late_commit: chance(60),
            twice: chance(50),
            slow: chance(50),
            slow_apply: chance(40),
            applied_twice: chance(40),
            news_lost: chance(80),
            news_repeated: chance(60),
            news_late: chance(60),
            stream_cut: chance(30),
        }
    }
}

/// Whether something of this chance happens.
pub(crate) fn happens(rng: &mut Rng, percent: u8) -> bool {
    rng.u8(0..100) < percent
}
