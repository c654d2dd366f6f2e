//! The engine against a service that does what the bytes say.
//!
//! The other side, and whoever holds the engine to its promises after every step, is the one of the
//! engine's own scenarios.

use std::time::Duration;

use evenkeel_proto::engine::{
    Backlog, Config, Floors, Hint, Input, Pulled, RequestId, StreamEvent,
};
use evenkeel_proto::wire::Cursor;
use evenkeel_proto::{Ask, Cause, Failure, Lifecycle, Timestamp};

use crate::bytes::Bytes;
use world::{Mood, Service, World, fails, fails_after, ms, secs};

#[path = "../../../sdk/proto/tests/engine/replica.rs"]
mod replica;
#[allow(dead_code, reason = "the scenarios use what is left over here")]
#[path = "../../../sdk/proto/tests/engine/world.rs"]
mod world;

/// Whatever happens in whatever order: one probe at a time while the gate is closed, nothing under a
/// floor, each ticket once, `synced` only with its proof, a status for every attempt that comes, never
/// a wake-up for a time that is over, no more requests and wake-ups than the pace allows, a state that
/// does not grow. And once all is well, `synced` within 15 minutes.
///
/// Fourteen bytes for the start, then a step for every two to eight.
pub fn engine(data: &[u8]) {
    let mut bytes = Bytes(data);
    let bytes = &mut bytes;
    let mut world = World::with(config(bytes), service(bytes));
    if bytes.u8() % 8 > 0 {
        world.input(Input::Start);
    }
    while !bytes.is_empty() {
        step(bytes, &mut world);
        let before = (world.now, world.wakes);
        world.run(bytes.span(secs(900)));
        no_hurry(&world, before);
        small(&world);
    }
    heals(&mut world);
    in_pace(&world);
}

fn config(bytes: &mut Bytes<'_>) -> Config {
    let floor = |bytes: &mut Bytes<'_>| match bytes.u8() {
        any if any < 128 => Duration::ZERO,
        long => secs(u64::from(long) * 16),
    };
    Config {
        seed: u64::from(bytes.u16()),
        cursor: bytes.bool().then(|| Cursor(u64::from(bytes.u8()))),
        backlog: Backlog {
            waiting: u32::from(bytes.u8() % 4),
            ..Backlog::default()
        },
        floors: Floors {
            gate: floor(bytes),
            stream: floor(bytes),
            pull: floor(bytes),
            push: floor(bytes),
            cause: bytes.bool().then_some(Cause::CircuitOpen),
        },
        ..Config::default()
    }
}

fn service(bytes: &mut Bytes<'_>) -> Service {
    Service {
        latency: ms(bytes.below(3_000) + 1),
        head: 256 + bytes.below(3_000),
        ..Service::default()
    }
}

fn step(bytes: &mut Bytes<'_>, world: &mut World) {
    match bytes.u8() % 28 {
        0 => world.service.heal(),
        1 => {
            let mood = mood(bytes);
            world.service.all(&mood);
        }
        2 => world.service.ticket = mood(bytes),
        3 => world.service.events = mood(bytes),
        4 => world.service.pull = mood(bytes),
        5 => world.service.push = mood(bytes),
        6 => world.service.snapshot = mood(bytes),
        7 => world.cut(None),
        8 => world.cut(Some(bytes.of(Cause::ALL))),
        9 => (0..=bytes.u8() % 5).for_each(|_| world.change()),
        10 => {
            let cursor = match bytes.u8() {
                0 => u64::MAX,
                _ => bytes.below(world.service.head + 3),
            };
            world.announce(cursor);
        }
        11 => world.local_writes(u32::from(bytes.u16() % 300)),
        12..=14 => world.input(Input::Hint(bytes.of(&HINTS))),
        15 => world.input(Input::Suspend),
        16 => world.input(Input::Resume),
        17 => {
            world.input(Input::Stop);
            world.input(Input::Start);
        }
        18 => world.service.ready = bytes.bool(),
        19 => world.service.heartbeat = bytes.bool().then(|| secs(bytes.below(60) + 1)),
        20 => world.service.stream_life = bytes.bool().then(|| ms(bytes.below(40_000) + 1)),
        21 => world.service.pruned_below = bytes.below(world.service.head + 1),
        22 => world.service.settles = bytes.bool(),
        23 => stray(bytes, world),
        24 => world.service.latency = ms(bytes.below(20_000) + 1),
        25 => world.sleep(bytes.span(secs(30_000))),
        26 => world.wake_in_the_past(bytes.span(secs(900))),
        _ if world.has_stream() => {
            let event = match bytes.u8() % 3 {
                0 => StreamEvent::Retry(ms(bytes.u64())),
                1 => StreamEvent::Ready,
                _ => StreamEvent::Other,
            };
            world.event(event);
        }
        _ => {}
    }
}

/// Answers that nobody asked for, not in this form, or not any more: they change nothing.
fn stray(bytes: &mut Bytes<'_>, world: &mut World) {
    let at = usize::from(bytes.u16());
    let Some(id) = world
        .sent
        .get(at % world.sent.len().max(1))
        .map(|sent| sent.id)
    else {
        return;
    };
    if world.awaits(id) {
        return;
    }
    let before = world.status();
    let input = answer(bytes, id, world.now);
    world.input(input);
    let after = world.status();
    assert_eq!(
        (before.cursor, before.pending, before.ask),
        (after.cursor, after.pending, after.ask)
    );
}

fn answer(bytes: &mut Bytes<'_>, id: RequestId, now: Timestamp) -> Input {
    let failure = Failure::local(bytes.of(Cause::ALL), "stray");
    let cursor = Cursor(bytes.u64());
    let ok = bytes.bool();
    fn result<T>(ok: bool, good: T, failure: Failure) -> Result<T, Failure> {
        if ok { Ok(good) } else { Err(failure) }
    }
    match bytes.u8() % 10 {
        0 => {
            let page = Pulled {
                changes: u32::from(bytes.u16()),
                next: cursor,
                reset_required: bytes.bool(),
            };
            let result = result(ok, page, failure);
            Input::Pulled { id, result }
        }
        1 => {
            let result = result(ok, cursor, failure);
            Input::Snapshotted { id, result }
        }
        2 => {
            let result = Err(failure);
            Input::Pushed { id, result }
        }
        3 => {
            let result = Err(failure);
            Input::Ticket { id, result }
        }
        4 => {
            let result = result(ok, (), failure);
            Input::Opened { id, result }
        }
        5 => {
            let event = StreamEvent::Ready;
            Input::Event { id, event }
        }
        6 => {
            let event = StreamEvent::Sync(cursor);
            Input::Event { id, event }
        }
        7 => Input::Progress { id },
        8 => {
            let result = result(ok, now + secs(bytes.below(900)), failure);
            Input::Ticket { id, result }
        }
        _ => {
            let failure = ok.then_some(failure);
            Input::Closed { id, failure }
        }
    }
}

fn mood(bytes: &mut Bytes<'_>) -> Mood {
    match bytes.u8() % 5 {
        0 => Mood::Works,
        1 => Mood::Silent,
        2 => fails(bytes.of(Cause::ALL)),
        _ => fails_after(bytes.of(Cause::ALL), secs(bytes.below(900))),
    }
}

/// It wakes for what there is to do, not more.
fn no_hurry(world: &World, (since, wakes): (Timestamp, u32)) {
    let seconds = world.now.since(since).as_secs();
    let woken = u64::from(world.wakes - wakes);
    assert!(
        woken <= 100 + 8 * seconds,
        "woken {woken} times in {seconds} s"
    );
}

/// A quiet engine is as large as its type: what it shows of itself does not grow.
fn small(world: &World) {
    let shown = format!("{:?}", world.engine).len();
    assert!(shown < 6_000, "{shown} characters of state");
}

/// Half a minute's allowance at once, and a minute's in every minute.
fn in_pace(world: &World) {
    let sent = &world.sent;
    for (first, request) in sent.iter().enumerate() {
        let end = sent.partition_point(|later| later.at <= request.at + secs(60));
        assert!(end - first <= 121, "{} requests in a minute", end - first);
    }
}

fn heals(world: &mut World) {
    world.service.heal();
    // What is still on its way was answered before that.
    world.run(secs(25));
    let status = world.status();
    let waits_for_the_app = status.lifecycle != Lifecycle::Running
        || status.cause == Some(Cause::Offline)
        || matches!(status.ask, Ask::SignIn | Ask::DeviceRevoked);
    if waits_for_the_app {
        world.input(Input::Hint(Hint::NetworkUp));
        world.input(Input::Resume);
        world.input(Input::Stop);
        world.input(Input::Start);
    }
    // The longest floor, and some minutes of waits and of work.
    world.run_until("synced", secs(25 * 60), World::is_synced);
}

const HINTS: [Hint; 8] = [
    Hint::NetworkUp,
    Hint::NetworkMetered,
    Hint::NetworkDown,
    Hint::Foreground,
    Hint::Background,
    Hint::TokenChanged,
    Hint::RetryNow,
    Hint::SyncNow,
];
