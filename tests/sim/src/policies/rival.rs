//! The rivals: one loop of ticket, stream, pull and push, each with its own habits of waiting.

use std::collections::VecDeque;
use std::time::Duration;

use crate::client::{Action, Client, Lane, News, Request, Trouble};
use crate::wheel::Ms;

/// How a rival waits.
pub trait Habits: Default {
    /// Asks for data at intervals beside the stream: while it is live, and while it is not.
    const POLL: Option<(Ms, Ms)> = None;
    /// The wait after the `attempt`-th failure in a row (from 1 on).
    fn delay(
        &mut self,
        rng: &mut fastrand::Rng,
        now: Ms,
        attempt: u32,
        trouble: Option<Trouble>,
    ) -> Ms;
    /// How long a stream has to live until the count of failures begins anew.
    fn steady(&self) -> Ms {
        0
    }
    /// A request was served.
    fn served(&mut self) {}
}

/// The service's own web client: independent loops for stream, data and an interval; a `Retry-After` is cut to
/// 1-30 s and obeyed to the second.
#[derive(Debug, Default)]
pub struct Web;

impl Habits for Web {
    const POLL: Option<(Ms, Ms)> = Some((30_000, 15_000));

    fn delay(
        &mut self,
        rng: &mut fastrand::Rng,
        _: Ms,
        attempt: u32,
        trouble: Option<Trouble>,
    ) -> Ms {
        match trouble.and_then(|trouble| trouble.retry_after_by_clock) {
            Some(floor) => ms(floor).clamp(1_000, 30_000),
            None => doubled(1_000, attempt, 30_000) + rng.u32(0..=250),
        }
    }
}

/// Exponential from 1 to 30 s, of which 50-100 %; forgiven after 60 s; no `Retry-After` (the LaunchDarkly kind).
#[derive(Debug, Default)]
pub struct HalfJitter;

impl Habits for HalfJitter {
    fn delay(&mut self, rng: &mut fastrand::Rng, _: Ms, attempt: u32, _: Option<Trouble>) -> Ms {
        let backoff = doubled(1_000, attempt, 30_000);
        rng.u32(backoff / 2..=backoff)
    }

    fn steady(&self) -> Ms {
        60_000
    }
}

/// Full jitter from 1 to 32 s, with `Retry-After` as a floor that is obeyed to the second (the Electric kind).
#[derive(Debug, Default)]
pub struct FullJitter;

impl Habits for FullJitter {
    fn delay(
        &mut self,
        rng: &mut fastrand::Rng,
        _: Ms,
        attempt: u32,
        trouble: Option<Trouble>,
    ) -> Ms {
        let floor = trouble
            .and_then(|trouble| trouble.retry_after_by_clock)
            .map_or(0, ms);
        rng.u32(0..=doubled(1_000, attempt, 32_000)).max(floor)
    }
}

/// Five seconds, always (the PowerSync kind).
#[derive(Debug, Default)]
pub struct Fixed;

impl Habits for Fixed {
    fn delay(&mut self, _: &mut fastrand::Rng, _: Ms, _: u32, _: Option<Trouble>) -> Ms {
        5_000
    }
}

/// Full jitter from 1 to 20 s with a token bucket: ten retries in a row, one more for each request that is served
/// and each half minute (the kind that AWS describes).
#[derive(Debug, Default)]
pub struct Tokens {
    /// When the bucket would be full.
    full_at: Ms,
}

const TOKEN: Ms = 30_000;
const TOKENS: Ms = 10;

impl Habits for Tokens {
    fn delay(&mut self, rng: &mut fastrand::Rng, now: Ms, attempt: u32, _: Option<Trouble>) -> Ms {
        let wait = rng.u32(0..=doubled(1_000, attempt, 20_000));
        let at = (now + wait).max(self.full_at.saturating_sub(TOKEN * (TOKENS - 1)));
        self.full_at = self.full_at.max(now) + TOKEN;
        at - now
    }

    fn served(&mut self) {
        self.full_at = self.full_at.saturating_sub(TOKEN);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Asks for a ticket at that time.
    Waiting(Ms),
    Ticket,
    Opening,
    /// Headers came.
    Accepted,
    Live {
        since: Ms,
    },
}

/// One client of a rival kind.
#[derive(Debug)]
pub struct Rival<H> {
    habits: H,
    rng: fastrand::Rng,
    phase: Phase,
    attempt: u32,
    /// When the stream counts as dead.
    silent_at: Ms,
    cursor: u32,
    waiting: u32,
    pull_wanted: bool,
    pulling: bool,
    pushing: bool,
    data_attempt: u32,
    data_at: Ms,
    poll_at: Ms,
    todo: VecDeque<Action>,
}

/// No byte for so long, and the stream is given up.
const SILENCE: Ms = 60_000;

impl<H: Habits> Rival<H> {
    fn lost(&mut self, now: Ms, trouble: Option<Trouble>) {
        if let Phase::Live { since } = self.phase
            && now - since >= self.habits.steady()
        {
            self.attempt = 0;
        }
        self.attempt += 1;
        let wait = self.habits.delay(&mut self.rng, now, self.attempt, trouble);
        self.phase = Phase::Waiting(now + wait);
    }

    fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live { .. })
    }

    fn is_open(&self) -> bool {
        self.phase == Phase::Accepted || self.is_live()
    }

    /// Without loops of its own the data waits for the stream.
    fn may_ask_for_data(&self) -> bool {
        H::POLL.is_some() || self.is_live()
    }

    fn data_failed(&mut self, now: Ms, trouble: Trouble) {
        self.data_attempt += 1;
        let wait = self
            .habits
            .delay(&mut self.rng, now, self.data_attempt, Some(trouble));
        self.data_at = now + wait;
    }

    fn data_served(&mut self) {
        self.data_attempt = 0;
        self.habits.served();
    }

    fn go(&mut self, now: Ms) {
        if matches!(self.phase, Phase::Waiting(at) if at <= now) {
            self.phase = Phase::Ticket;
            self.todo.push_back(Action::Send(Request::Ticket, 0));
        }
        if !self.may_ask_for_data() || self.data_at > now {
            return;
        }
        if self.pull_wanted && !self.pulling {
            self.pulling = true;
            self.pull_wanted = false;
            self.todo
                .push_back(Action::Send(Request::Pull, self.cursor));
        }
        if self.waiting > 0 && !self.pushing {
            self.pushing = true;
            self.todo.push_back(Action::Send(Request::Push, 0));
        }
    }

    fn poll_later(&mut self, now: Ms) {
        if let Some((live, not)) = H::POLL {
            self.poll_at = now + if self.is_live() { live } else { not };
        }
    }
}

impl<H: Habits> Client for Rival<H> {
    fn new(seed: u64) -> Self {
        Self {
            habits: H::default(),
            rng: fastrand::Rng::with_seed(seed),
            phase: Phase::Waiting(Ms::MAX),
            attempt: 0,
            silent_at: Ms::MAX,
            cursor: 0,
            waiting: 0,
            pull_wanted: false,
            pulling: false,
            pushing: false,
            data_attempt: 0,
            data_at: 0,
            poll_at: Ms::MAX,
            todo: VecDeque::new(),
        }
    }

    fn hear(&mut self, now: Ms, news: News) {
        if self.is_open() {
            self.silent_at = now + SILENCE;
        }
        match news {
            News::Start => {
                self.phase = Phase::Waiting(now);
                self.pull_wanted = true;
                self.poll_later(now);
            }
            News::Wrote(waiting) => self.waiting = waiting,
            News::Stream(Ok(())) if self.phase == Phase::Ticket => {
                self.habits.served();
                self.phase = Phase::Opening;
                self.todo.push_back(Action::Send(Request::Events, 0));
            }
            News::Stream(Ok(())) => {
                self.phase = Phase::Accepted;
                self.silent_at = now + SILENCE;
            }
            News::Stream(Err(trouble)) => self.lost(now, Some(trouble)),
            News::Ready => {
                self.phase = Phase::Live { since: now };
                if self.habits.steady() == 0 {
                    self.attempt = 0;
                }
                self.habits.served();
                self.pull_wanted = true;
            }
            News::Sync(cursor) => self.pull_wanted |= cursor > self.cursor,
            News::Heartbeat | News::Retry(_) => {}
            News::Closed(trouble) => self.lost(now, trouble),
            News::Pulled(result) => {
                self.pulling = false;
                match result {
                    Ok((changes, next)) => {
                        self.cursor = self.cursor.max(next);
                        self.pull_wanted |= changes > 0;
                        self.data_served();
                    }
                    Err(trouble) => {
                        self.pull_wanted = true;
                        self.data_failed(now, trouble);
                    }
                }
            }
            News::Pushed(result) => {
                self.pushing = false;
                match result {
                    Ok(waiting) => {
                        self.waiting = waiting;
                        self.data_served();
                    }
                    Err(trouble) => self.data_failed(now, trouble),
                }
            }
        }
        self.go(now);
    }

    fn tick(&mut self, now: Ms) {
        if self.is_open() && self.silent_at <= now {
            self.todo.push_back(Action::Abort(Lane::Stream));
            self.lost(now, None);
        }
        if self.poll_at <= now {
            self.pull_wanted = true;
            // The interval is a loop of its own: it does not ask whether the other one waits.
            self.data_at = self.data_at.min(now);
            self.poll_later(now);
        }
        self.go(now);
    }

    fn act(&mut self) -> Option<Action> {
        self.todo.pop_front()
    }

    fn wake(&self) -> Option<Ms> {
        let stream = match self.phase {
            Phase::Waiting(at) => at,
            Phase::Accepted | Phase::Live { .. } => self.silent_at,
            Phase::Ticket | Phase::Opening => Ms::MAX,
        };
        let idle = (self.pull_wanted && !self.pulling) || (self.waiting > 0 && !self.pushing);
        let data = if idle && self.may_ask_for_data() {
            self.data_at
        } else {
            Ms::MAX
        };
        let at = stream.min(data).min(self.poll_at);
        (at < Ms::MAX).then_some(at)
    }
}

fn ms(span: Duration) -> Ms {
    Ms::try_from(span.as_millis()).unwrap_or(Ms::MAX / 2)
}

fn doubled(first: Ms, attempt: u32, most: Ms) -> Ms {
    (first << attempt.saturating_sub(1).min(16)).min(most)
}
