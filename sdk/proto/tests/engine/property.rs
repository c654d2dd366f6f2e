//! Random services, apps and networks: what is promised always must hold after every step. A failing
//! run prints its seed; `EVENKEEL_SEED=n` replays it alone, `EVENKEEL_RUNS=n` makes more of them.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use evenkeel_proto::engine::{Config, Floors, Hint, Input, Pulled, StreamEvent};
use evenkeel_proto::wire::Cursor;
use evenkeel_proto::{Ask, Cause, Failure, Lifecycle};
use fastrand::Rng;

use crate::world::{Mood, Service, World, fails, fails_after, ms, secs};

#[test]
fn the_promises_hold_in_random_lives() {
    let seeds = match std::env::var("EVENKEEL_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => {
            let runs = std::env::var("EVENKEEL_RUNS").map_or(RUNS, |runs| runs.parse().unwrap());
            (0..runs).collect()
        }
    };
    for seed in seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| live(seed))) {
            eprintln!("replay with EVENKEEL_SEED={seed}");
            resume_unwind(panic);
        }
    }
}

fn live(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let rng = &mut rng;
    let config = Config {
        seed,
        cursor: rng.bool().then(|| Cursor(rng.u64(0..7))),
        settled: Cursor(seed % 7),
        floors: Floors {
            gate: secs(if rng.bool() { 0 } else { rng.u64(0..100) }),
            cause: rng.bool().then_some(Cause::CircuitOpen),
            ..Floors::default()
        },
        ..Config::default()
    };
    let service = Service {
        latency: ms(rng.u64(1..3_000)),
        head: rng.u64(7..3_000),
        ..Service::default()
    };
    let mut world = World::with(config, service);
    if rng.u8(0..10) > 0 {
        world.input(Input::Start);
    }
    for _ in 0..rng.u32(5..60) {
        act(rng, &mut world);
        let span = match rng.u8(0..4) {
            0 => ms(rng.u64(0..50)),
            1 => ms(rng.u64(0..5_000)),
            2 => secs(rng.u64(0..60)),
            _ => secs(rng.u64(0..900)),
        };
        world.run(span);
    }
    // Everything turns good: the client gets there by itself, as soon as floors and waits allow.
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
    world.run_until("synced", HEALED_WITHIN, World::is_synced);
}

fn act(rng: &mut Rng, world: &mut World) {
    match rng.u8(0..26) {
        0 => world.service.heal(),
        1 => {
            let mood = mood(rng);
            world.service.all(&mood);
        }
        2 => world.service.ticket = mood(rng),
        3 => world.service.events = mood(rng),
        4 => world.service.pull = mood(rng),
        5 => world.service.push = mood(rng),
        6 => world.service.snapshot = mood(rng),
        7 => world.cut(None),
        8 => world.cut(Some(Cause::ConnectionLost)),
        9 => {
            for _ in 0..rng.u8(1..5) {
                world.change();
            }
        }
        10 => world.announce(rng.u64(0..world.service.head + 3)),
        11 => world.local_writes(rng.u32(1..300)),
        12 => {
            let hints = [
                Hint::NetworkUp,
                Hint::NetworkMetered,
                Hint::NetworkDown,
                Hint::Foreground,
                Hint::Background,
                Hint::TokenChanged,
                Hint::RetryNow,
                Hint::SyncNow,
            ];
            world.input(Input::Hint(*rng.choice(&hints).unwrap()));
        }
        13 => world.input(Input::Suspend),
        14 => world.input(Input::Resume),
        15 => {
            world.input(Input::Stop);
            world.input(Input::Start);
        }
        16 => world.service.ready = rng.bool(),
        17 => world.service.heartbeat = rng.bool().then(|| secs(rng.u64(1..60))),
        18 => world.service.stream_life = rng.bool().then(|| ms(rng.u64(1..40_000))),
        19 => world.service.pruned_below = rng.u64(0..world.service.head + 1),
        20 => world.service.settles = rng.bool(),
        21 => hostile(rng, world),
        22 => world.service.latency = ms(rng.u64(1..20_000)),
        23 => world.sleep(secs(rng.u64(0..30_000))),
        24 => world.wake_in_the_past(secs(rng.u64(0..900))),
        _ => {
            if world.has_stream() {
                world.event(StreamEvent::Retry(secs(rng.u64(0..1_000))));
            }
        }
    }
}

/// Answers that nobody asked for, or not any more: they must change nothing.
fn hostile(rng: &mut Rng, world: &mut World) {
    let Some(sent) = rng.choice(&world.sent).copied() else {
        return;
    };
    if world.awaits(sent.id) {
        return;
    }
    let id = sent.id;
    let failure = Failure::local(*rng.choice(Cause::ALL).unwrap(), "late");
    let before = world.status();
    let page = Pulled {
        changes: rng.u32(0..600),
        next: Cursor(rng.u64(0..5_000)),
        reset_required: rng.bool(),
    };
    let ok = rng.bool();
    world.input(match rng.u8(0..9) {
        0 => Input::Pulled {
            id,
            result: if ok { Ok(page) } else { Err(failure) },
        },
        1 => Input::Snapshotted {
            id,
            result: if ok { Ok(page.next) } else { Err(failure) },
        },
        2 => Input::Pushed {
            id,
            result: Err(failure),
        },
        3 => Input::Ticket {
            id,
            result: Err(failure),
        },
        4 => Input::Opened {
            id,
            result: if ok { Ok(()) } else { Err(failure) },
        },
        5 => Input::Event {
            id,
            event: StreamEvent::Ready,
        },
        6 => Input::Event {
            id,
            event: StreamEvent::Sync(page.next),
        },
        7 => Input::Progress { id },
        _ => Input::Closed {
            id,
            failure: ok.then_some(failure),
        },
    });
    let after = world.status();
    assert_eq!(
        (before.cursor, before.pending, before.ask),
        (after.cursor, after.pending, after.ask)
    );
}

fn mood(rng: &mut Rng) -> Mood {
    match rng.u8(0..5) {
        0 => Mood::Works,
        1 => Mood::Silent,
        2 => fails(*rng.choice(Cause::ALL).unwrap()),
        _ => fails_after(*rng.choice(Cause::ALL).unwrap(), secs(rng.u64(0..120))),
    }
}

const RUNS: u64 = 3_000;
/// A floor of two minutes, the slow class's five, a `retry:` of five, and some seconds of work.
const HEALED_WITHIN: Duration = Duration::from_secs(15 * 60);
