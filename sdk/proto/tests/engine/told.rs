//! What the app is told: when the next attempt comes, which one it is, and what is asked of the user.

use evenkeel_proto::engine::{Backlog, Input};
use evenkeel_proto::{Ask, Cause, Link, Request};

use crate::world::{Mood, World, fails, fails_after, ms, secs};

/// The next request goes out when the status says so.
fn keeps_its_word(world: &mut World) -> Request {
    let next = world.status().next_attempt_at.expect("a time");
    let sent = world.sent.len();
    world.run_until("the next attempt", secs(60), |w| w.sent.len() > sent);
    assert_eq!(world.now, next);
    world.sent[sent].request
}

#[test]
fn the_wait_for_what_settles_ends_no_sooner_than_that_of_the_pull() {
    let mut world = World::synced();
    world.change();
    world.run(ms(100));
    world.service.pull = fails(Cause::ConnectionLost);
    world.change();
    for _ in 0..5 {
        world.run(ms(100));
        assert_eq!(keeps_its_word(&mut world), Request::Pull);
    }
}

#[test]
fn a_pull_waits_for_the_stream_and_for_its_own_floor() {
    for floor in [None, Some(secs(90))] {
        let mut world = World::synced();
        if let Some(floor) = floor {
            world.service.pull = fails_after(Cause::Upstream5xx, floor);
            world.local_writes(1);
            world.change();
            world.run(secs(1));
        }
        world.service.all(&fails(Cause::NetworkError));
        world.cut(Some(Cause::ConnectionLost));
        world.run_until("away", secs(10), |w| {
            w.status().cause == Some(Cause::NetworkError)
        });
        world.service.heal();
        world.service.events = Mood::Silent;
        world.run_until("a stream", secs(60), |w| {
            w.sent.last().is_some_and(|s| s.request == Request::Events)
        });
        let next = world.status().next_attempt_at.expect("a time");
        let waits = next.since(world.now);
        assert_eq!(waits > secs(30), floor.is_some(), "{waits:?}");
        if floor.is_none() {
            assert_eq!(keeps_its_word(&mut world), Request::Pull);
        }
    }
}

#[test]
fn what_was_discarded_is_not_announced() {
    let mut world = World::synced();
    world.service.pull = fails(Cause::ConnectionLost);
    world.change();
    world.writes_on(12);
    assert_eq!(world.status().cause, Some(Cause::ConnectionLost));
    world.service.push = fails(Cause::ConnectionLost);
    world.local_writes(1);
    world.run(ms(100));
    let push = world.status().next_attempt_at;
    world.waiting = 0;
    world.input(Input::LocalChange(Backlog::default()));
    assert_ne!(world.status().next_attempt_at, push);
    assert_eq!(keeps_its_word(&mut world), Request::Pull);
}

#[test]
fn attempts_are_counted_across_a_pause() {
    let mut world = World::synced();
    world.service.events = fails(Cause::Upstream5xx);
    world.cut(Some(Cause::ConnectionLost));
    world.run_until("twice", secs(30), |w| w.status().attempt == 2);
    world.service.all(&Mood::Silent);
    world.input(Input::Suspend);
    world.input(Input::Resume);
    assert_eq!(world.status().link, Link::None);
    assert_eq!(world.status().attempt, 2);
}

#[test]
fn the_user_is_asked_about_what_only_the_user_can_decide() {
    let mut world = World::synced();
    for (conflicts, rejected, ask) in [
        (1, 0, Ask::ResolveConflicts),
        (1, 1, Ask::ResolveConflicts),
        (0, 1, Ask::ReviewRejected),
        (0, 0, Ask::None),
    ] {
        world.input(Input::LocalChange(Backlog {
            conflicts,
            rejected,
            ..Backlog::default()
        }));
        assert_eq!(world.status().ask, ask);
    }
}

#[test]
fn logs_name_requests_by_number_and_times_in_milliseconds() {
    let world = World::synced();
    let first = world.sent[0];
    assert_eq!(first.id.to_string(), "1");
    assert_eq!(first.at.as_millis(), 1_000_000);
}
