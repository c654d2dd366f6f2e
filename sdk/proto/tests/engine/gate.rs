//! The gate: who waits after a failure, how long, and what goes out when it reopens.

use evenkeel_proto::engine::{Config, Hint, Input};
use evenkeel_proto::policy::{Class, Scope};
use evenkeel_proto::policy::{REQUESTS, rule};
use evenkeel_proto::{Ask, Cause, Request, SyncState};

use crate::world::{Mood, Service, World, config_at, fails, fails_after, ms, secs};

#[test]
fn circuit_opening_while_live_keeps_the_stream_and_waits() {
    let mut world = World::synced();
    world.service.all(&fails_after(Cause::CircuitOpen, secs(7)));
    world.change();
    world.run(ms(100));
    assert_eq!(world.status().cause, Some(Cause::CircuitOpen));
    assert!(world.has_stream(), "a stream that lives is left alone");
    let sent = world.sent.len();
    world.local_writes(2);
    world.run(secs(6));
    assert_eq!(world.sent.len(), sent, "nothing while the gate is closed");
    world.service.heal();
    world.run_until("synced", secs(4), World::is_synced);
    assert_eq!(world.sent[sent].request, Request::Pull);
}

#[test]
fn origin_gone_in_mid_stream_is_told_at_once_and_healed_at_the_announced_time() {
    let mut world = World::synced();
    world
        .service
        .all(&fails_after(Cause::NetworkError, secs(20)));
    world.cut(Some(Cause::ConnectionLost));
    assert!(world.is_degraded());
    assert_eq!(world.status().since, world.now);
    world.run_until("the edge's cause", secs(2), |world| {
        world.status().cause == Some(Cause::NetworkError)
    });
    for _ in 0..5 {
        let next = world.status().next_attempt_at.unwrap();
        let sent = world.sent.len();
        world.run(next.since(world.now) - ms(1));
        assert_eq!(world.sent.len(), sent);
        world.run(ms(30));
        assert_eq!(world.sent.len(), sent + 1, "one probe");
        assert_eq!(world.sent[sent].at, next);
        assert_eq!(world.sent[sent].request, Request::Ticket);
    }
    let next = world.status().next_attempt_at.unwrap();
    world.service.heal();
    let sent = world.sent.len();
    world.run_until("synced", secs(60), World::is_synced);
    assert!(world.now.since(next) < ms(200));
    let requests: Vec<_> = world.sent[sent..].iter().map(|s| s.request).collect();
    assert_eq!(
        requests,
        [Request::Ticket, Request::Events, Request::Pull],
        "no more than it takes"
    );
}

#[test]
fn an_outage_of_any_length_ends_at_the_announced_attempt() {
    let moods = [
        fails_after(Cause::NetworkError, secs(20)),
        fails(Cause::ConnectFailed),
        fails(Cause::Upstream5xx),
        fails_after(Cause::CircuitOpen, secs(2)),
    ];
    for seed in 0..1_600 {
        let config = Config {
            seed,
            ..Config::default()
        };
        let mut world = World::with(config, Service::default());
        world.input(Input::Start);
        world.run_until("synced", secs(5), World::is_synced);
        world.service.all(&moods[seed as usize % moods.len()]);
        world.cut(Some(Cause::ConnectionLost));
        world.run(secs(3) + ms(seed * 200));
        world.service.heal();
        world.run_until("announced", secs(1), |w| {
            w.is_synced() || w.status().next_attempt_at.is_some()
        });
        let next = world.status().next_attempt_at.unwrap_or(world.now);
        world.run_until("synced", secs(80), World::is_synced);
        let late = world.now.since(next);
        assert!(late <= secs(2), "seed {seed}: {late:?} late");
    }
}

#[test]
fn no_hint_undercuts_the_servers_floor() {
    let mut world = World::synced();
    world
        .service
        .all(&fails_after(Cause::CircuitOpen, secs(60)));
    world.change();
    world.run(ms(100));
    let sent = world.sent.len();
    let floor = world.status().floor_from_server.unwrap();
    for hint in [
        Hint::RetryNow,
        Hint::NetworkUp,
        Hint::Foreground,
        Hint::SyncNow,
        Hint::TokenChanged,
        Hint::NetworkMetered,
    ] {
        world.input(Input::Hint(hint));
        world.run(secs(6));
    }
    world.input(Input::Hint(Hint::NetworkDown));
    world.input(Input::Hint(Hint::NetworkUp));
    world.input(Input::Suspend);
    world.input(Input::Resume);
    world.input(Input::Stop);
    world.input(Input::Start);
    world.run(floor.since(world.now) - ms(1));
    assert_eq!(world.sent.len(), sent);
    world.run(secs(2));
    assert_eq!(world.sent.len(), sent + 1);
}

#[test]
fn a_hint_cuts_our_own_backoff_short() {
    let mut world = World::synced();
    world.service.all(&fails(Cause::ConnectFailed));
    world.cut(Some(Cause::ConnectionLost));
    world.run(secs(120));
    let sent = world.sent.len();
    world.run_until("just failed", secs(60), |w| w.sent.len() > sent);
    world.run(ms(50));
    let sent = world.sent.len();
    world.input(Input::Hint(Hint::RetryNow));
    assert_eq!(world.sent.len(), sent + 1);
    world.run(ms(100));
    for _ in 0..10 {
        world.input(Input::Hint(Hint::RetryNow));
    }
    assert_eq!(
        world.sent.len(),
        sent + 1,
        "an impatient thumb is rate-limited"
    );
}

#[test]
fn each_short_trouble_beside_a_stream_that_lives_for_hours_is_the_first_one_again() {
    let mut world = World::synced();
    for _ in 0..8 {
        world.service.pull = fails_after(Cause::CircuitOpen, secs(2));
        world.change();
        world.run_until("told", ms(50), World::is_degraded);
        assert_eq!(world.status().attempt, 1);
        world.service.heal();
        world.run_until("synced", secs(4), World::is_synced);
        world.run(secs(3_600));
    }
    assert!(world.has_stream());
}

#[test]
fn rate_limiting_closes_the_gate_whatever_else_works() {
    let mut world = World::synced();
    world.service.push = fails_after(Cause::RateLimited, secs(54));
    world.local_writes(1);
    world.run(ms(100));
    assert_eq!(world.status().cause, Some(Cause::RateLimited));
    let sent = world.sent.len();
    world.change();
    world.run(secs(53));
    assert_eq!(world.sent.len(), sent);
    world.service.heal();
    world.run_until("synced", secs(30), World::is_synced);
    assert_eq!(world.sent[sent].request, Request::Pull);
}

#[test]
fn a_floor_is_told_only_where_nothing_goes_out_before_it() {
    let mut world = World::synced();
    world.service.push = fails_after(Cause::Timeout, secs(3));
    // A pull has just worked, the stream is asked for again in half a second, the push in three.
    world.input(Input::Hint(Hint::SyncNow));
    world.run(ms(100));
    world.service.ticket = fails(Cause::Upstream5xx);
    world.cut(Some(Cause::ConnectionLost));
    world.local_writes(1);
    world.run(ms(25));
    for _ in 0..400 {
        let status = world.status();
        if let (Some(floor), Some(next)) = (status.floor_from_server, status.next_attempt_at) {
            assert!(next >= floor, "{status:?}");
        }
        world.run(ms(25));
    }
    let pushes = world.sent.iter().filter(|s| s.request == Request::Push);
    let at: Vec<_> = pushes.map(|push| push.at).collect();
    assert!(at.len() > 1, "it goes on");
    assert!(
        at.windows(2).all(|pair| pair[1].since(pair[0]) >= secs(3)),
        "{at:?}"
    );
}

#[test]
fn a_lane_fails_alone_while_the_others_work() {
    let mut world = World::synced();
    world.service.push = fails(Cause::Upstream5xx);
    world.local_writes(1);
    world.run(secs(1));
    assert_eq!(world.status().cause, Some(Cause::Upstream5xx));
    let before = world.status().cursor;
    world.change();
    world.run(ms(200));
    assert!(world.status().cursor > before, "pulls go on");
    world.service.heal();
    world.run_until("synced", secs(31), World::is_synced);
}

#[test]
fn an_answer_from_before_the_closing_raises_the_floor_only() {
    let mut world = World::synced();
    world.service.push = fails_after(Cause::CircuitOpen, secs(40));
    world.service.pull = fails_after(Cause::CircuitOpen, secs(5));
    world.change();
    world.run(ms(10));
    world.local_writes(1);
    world.run(ms(100));
    let status = world.status();
    assert_eq!(status.attempt, 1, "one outage, one attempt");
    assert!(status.next_attempt_at.unwrap() >= world.now + secs(39));
}

#[test]
fn a_late_answer_with_a_shorter_floor_changes_nothing() {
    let mut world = World::synced();
    world.service.pull = fails_after(Cause::CircuitOpen, secs(40));
    world.service.push = fails_after(Cause::CircuitOpen, secs(5));
    world.change();
    world.run(ms(10));
    world.local_writes(1);
    world.run(ms(15));
    world.input(Input::Hint(Hint::RetryNow));
    let status = world.status();
    assert_eq!(status.next_attempt_at, status.floor_from_server);
    world.run(ms(100));
    assert_eq!(world.status().next_attempt_at, status.next_attempt_at);
}

#[test]
fn a_probe_that_pulls_are_not_free_for_is_a_push() {
    let mut world = World::synced();
    world.service.pull = fails_after(Cause::Upstream5xx, secs(300));
    world.change();
    world.run(ms(100));
    world.service.push = fails(Cause::NetworkError);
    world.local_writes(1);
    world.run(ms(100));
    assert_eq!(world.status().cause, Some(Cause::NetworkError));
    world.service.heal();
    let sent = world.sent.len();
    world.run_until("pushed", secs(2), |w| w.status().pending == 0);
    assert_eq!(world.sent[sent].request, Request::Push);
}

#[test]
fn a_stream_that_failed_by_itself_is_not_what_a_probe_asks_for() {
    let mut world = World::synced();
    world.service.events = fails(Cause::Upstream5xx);
    world.cut(Some(Cause::ConnectionLost));
    world.run_until("refused", secs(2), |w| {
        w.status().cause == Some(Cause::Upstream5xx)
    });
    world.service.push = fails(Cause::NetworkError);
    world.local_writes(1);
    world.run_until("told", ms(50), |w| {
        w.status().cause == Some(Cause::NetworkError)
    });
    world.service.heal();
    let sent = world.sent.len();
    world.run_until("synced", secs(10), World::is_synced);
    assert_eq!(world.sent[sent].request, Request::Pull);
}

#[test]
fn where_every_request_has_a_floor_the_first_to_end_is_waited_for() {
    for (writes, first, least) in [(1, Request::Push, 100), (0, Request::Pull, 300)] {
        let mut world = World::synced();
        world.service.pull = fails_after(Cause::Upstream5xx, secs(300));
        world.change();
        world.run(ms(100));
        if writes > 0 {
            world.service.push = fails_after(Cause::BadRequest, secs(100));
            world.local_writes(writes);
            world.run(ms(100));
        }
        world.service.events = fails_after(Cause::Upstream5xx, secs(600));
        world.cut(None);
        world.run(secs(2));
        world.input(Input::Suspend);
        world.input(Input::Resume);
        let (begun, sent, wakes) = (world.now, world.sent.len(), world.wakes);
        world.service.heal();
        world.run_until("asking", secs(400), |w| w.sent.len() > sent);
        assert_eq!(world.sent[sent].request, first);
        let waited = world.now.since(begun);
        assert!(
            waited > secs(least - 3) && waited <= secs(least),
            "{waited:?}"
        );
        assert!(world.wakes - wakes <= 3, "nothing to look at meanwhile");
    }
}

/// Every cause, met by every request, in every state that the engine can be in when it is sent.
#[test]
fn every_cause_on_every_request_in_every_state_has_the_tables_effect() {
    for &cause in Cause::ALL {
        for request in REQUESTS {
            for state in ["starting", "live", "alone", "polling", "probing"] {
                check_effect(cause, request, state);
            }
        }
    }
}

fn check_effect(cause: Cause, request: Request, state: &str) {
    let label = format!("{cause} on {request:?}, {state}");
    let Some(mut world) = prepare(request, state) else {
        return;
    };
    let rule = rule(cause, request);
    let mood = fails(cause);
    match request {
        Request::Ticket => {
            world.service.pull = Mood::Works;
            world.service.ticket = mood;
        }
        Request::Events => world.service.events = mood,
        Request::Pull => world.service.pull = mood,
        Request::Snapshot => world.service.snapshot = mood,
        _ => world.service.push = mood,
    }
    let sent = world.sent.len();
    world.run_until(&label, secs(200), |world| {
        world.sent[sent..].iter().any(|s| s.request == request)
    });
    let was_probe = world.sent[sent].request == request && matches!(state, "starting" | "probing");
    world.run(ms(21));
    let status = world.status();
    let now = world.now;
    match rule.class {
        Class::Ask if cause == Cause::DeviceRevoked => {
            assert_eq!(status.ask, Ask::DeviceRevoked, "{label}");
            let sent = world.sent.len();
            world.run(secs(900));
            assert_eq!(world.sent.len(), sent, "{label}");
        }
        Class::Ask => {
            assert_eq!(world.refreshes.len(), 1, "{label}");
        }
        Class::Again if !was_probe => {
            assert_ne!(status.state, SyncState::Synced, "{label}");
            let sent = world.sent.len();
            world.run_until(&label, secs(70), |w| w.sent.len() > sent);
        }
        class => {
            assert_eq!(status.state, SyncState::Degraded, "{label}: {status:?}");
            let streams_alone = was_probe
                && request == Request::Ticket
                && class == Class::Slow
                && rule.scope != Scope::Client;
            let whole = match rule.scope {
                _ if was_probe => !streams_alone,
                Scope::Client => true,
                Scope::LaneWhileOthersWork => {
                    state == "alone" || (state == "polling" && request != Request::Push)
                }
                _ => false,
            };
            if streams_alone {
                // A pull finds out at once how the data fares.
                assert_eq!(world.sent.last().map(|s| s.request), Some(Request::Pull));
                world.run(ms(21));
            }
            let sent = world.sent.len();
            world.local_writes(1);
            world.run(ms(5));
            let pushed = world.sent[sent..]
                .iter()
                .any(|s| s.request == Request::Push);
            if request != Request::Push {
                assert_eq!(pushed, !whole, "{label}: does the gate hold others back?");
            }
            if whole {
                let wait = status.next_attempt_at.unwrap().since(now);
                let (least, most) = match class {
                    Class::Slow => (secs(15), secs(300)),
                    Class::Gate => (secs(20) - ms(1), secs(80)),
                    _ => (ms(499), secs(30)),
                };
                assert!(wait >= least - ms(1) && wait <= most, "{label}: {wait:?}");
            }
        }
    }
}

/// A world in which this request is about to be sent; `None` where the state never sends it.
fn prepare(request: Request, state: &str) -> Option<World> {
    let mut world = World::new();
    match state {
        "starting" => {
            match request {
                Request::Ticket => world = World::with(config_at(7), Service::default()),
                Request::Pull => {}
                _ => return None,
            }
            world.input(Input::Start);
            return Some(restart(world));
        }
        "polling" => {
            if matches!(request, Request::Ticket | Request::Events) {
                // Its failures are what led there.
                return None;
            }
            world = World::synced();
            world.service.events = fails(Cause::Upstream5xx);
            world.cut(Some(Cause::ConnectionLost));
            world.run_until("polling", secs(60), World::polls);
            world.run(ms(100));
        }
        "probing" => {
            // What was lost is asked for first; a client that has not been synced yet asks for data.
            match request {
                Request::Ticket => {
                    world = World::synced();
                    world.service.all(&fails(Cause::ConnectFailed));
                    world.cut(Some(Cause::ConnectionLost));
                }
                Request::Pull => {
                    world.service.all(&fails(Cause::ConnectFailed));
                    world.input(Input::Start);
                }
                _ => return None,
            }
            world.run(secs(100));
            let sent = world.sent.len();
            world.run_until("failing", secs(60), |w| w.sent.len() > sent);
            world.run(ms(30));
            return Some(world);
        }
        _ => world = World::synced(),
    }
    if state == "alone" && matches!(request, Request::Ticket | Request::Events) {
        // Nothing else has worked for a while.
        world.service.heartbeat = None;
        world.run(secs(31));
        world.cut(Some(Cause::ConnectionLost));
        return Some(world);
    }
    if state == "alone" {
        return None;
    }
    match request {
        Request::Ticket | Request::Events => {
            // A pull has just worked.
            world.input(Input::Hint(Hint::SyncNow));
            world.run(ms(100));
            world.cut(Some(Cause::ConnectionLost));
        }
        Request::Pull => world.later(ms(1), Input::Hint(Hint::SyncNow)),
        Request::Snapshot => {
            world.service.head += 1;
            world.service.pruned_below = world.service.head;
            world.later(ms(1), Input::Hint(Hint::SyncNow));
        }
        _ => {
            world.waiting = 1;
            world.later(
                ms(1),
                Input::LocalChange(evenkeel_proto::engine::Backlog {
                    waiting: 1,
                    ..Default::default()
                }),
            );
        }
    }
    Some(world)
}

fn restart(mut world: World) -> World {
    // The same world, an instant before its first request.
    world.input(Input::Stop);
    world.sent.clear();
    world.later(ms(1), Input::Start);
    world
}

#[test]
fn a_gate_that_reopens_beside_a_long_download_waits_for_its_answer() {
    let mut world = World::synced();
    world.service.latency = secs(50);
    world.input(Input::Hint(Hint::SyncNow));
    world.service.latency = ms(20);
    world.service.push = fails(Cause::NetworkError);
    world.local_writes(1);
    world.run(ms(100));
    assert_eq!(world.status().cause, Some(Cause::NetworkError));
    world.waiting = 0;
    world.input(Input::LocalChange(Default::default()));
    let (sent, wakes) = (world.sent.len(), world.wakes);
    world.run(secs(45));
    assert_eq!(world.sent.len(), sent);
    assert!(world.wakes - wakes <= 2, "nothing to look at meanwhile");
    world.run_until("synced", secs(6), World::is_synced);
}
