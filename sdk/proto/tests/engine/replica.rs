//! A replica that notes what is settled, and an onlooker who knows whether it may.

use std::time::Duration;

use evenkeel_proto::Timestamp;
use evenkeel_proto::engine::{Config, Pulled, RequestId};
use evenkeel_proto::wire::Cursor;

/// How long a transaction may hold a number before it commits.
const LATE_COMMIT: Duration = Duration::from_secs(10);

pub(crate) struct Replica {
    /// What it has noted.
    pub(crate) settled: Cursor,
    /// How far it had come, and since when.
    reached: Vec<(Timestamp, Cursor)>,
    /// Pulls under way: where they read from, and what they are to settle.
    asked: Vec<(RequestId, Cursor, Option<Cursor>)>,
}

impl Replica {
    pub(crate) fn new(now: Timestamp, config: &Config) -> Self {
        Self {
            settled: config.settled,
            reached: vec![(now, config.cursor.unwrap_or_default())],
            asked: Vec::new(),
        }
    }

    pub(crate) fn asked(
        &mut self,
        now: Timestamp,
        id: RequestId,
        from: Cursor,
        settles: Option<Cursor>,
    ) {
        let &(_, cursor) = self.reached.last().expect("it is somewhere");
        assert!(
            from <= cursor,
            "a pull from {from:?} leaves a hole: {:?}",
            self.reached
        );
        self.asked.push((id, from, settles));
        let Some(settles) = settles else {
            return;
        };
        let long_ago = |&&(at, _): &&(Timestamp, Cursor)| now.since(at) >= LATE_COMMIT;
        let then = self.reached.iter().rev().find(long_ago);
        assert!(
            then.is_some_and(|&(_, cursor)| settles <= cursor),
            "{settles:?} is to be settled at {now:?}, but this far it came lately: {:?}",
            self.reached
        );
    }

    pub(crate) fn pulled(&mut self, now: Timestamp, id: RequestId, page: &Pulled) {
        let asked = self.asked.iter().find(|&&(pull, ..)| pull == id);
        let &(_, from, settles) = asked.expect("an answer to a question");
        if let Some(settles) = settles.filter(|&settles| page.reaches(from, settles)) {
            self.settled = self.settled.max(settles);
        }
        let &(_, cursor) = self.reached.last().expect("it is somewhere");
        if page.next > cursor && !page.reset_required {
            self.reached.push((now, page.next));
        }
    }

    /// What it had come to know does not count any more.
    pub(crate) fn replaced(&mut self, now: Timestamp, cursor: Cursor) {
        self.settled = Cursor::ZERO;
        self.reached = vec![(now, cursor)];
    }
}
