//! Starting: from nothing, into an outage, inside a floor of the last run.

use std::time::Duration;

use evenkeel_proto::engine::{Backlog, Config, Floors, Hint, Input};
use evenkeel_proto::wire::Cursor;
use evenkeel_proto::{Cause, Lifecycle, Link, Request, SyncState};

use crate::world::{Mood, Service, World, config_at, fails, fails_after, ms, secs};

#[test]
fn cold_start_reaches_synced_by_proof() {
    let mut world = World::new();
    world.input(Input::Start);
    let first = world.said[0].1;
    assert_eq!(first.state, SyncState::Syncing);
    assert_eq!(first.lifecycle, Lifecycle::Running);
    world.run_until("synced", ms(200), World::is_synced);
    let status = world.status();
    assert_eq!(status.cursor, Some(Cursor(7)));
    assert_eq!(status.link, Link::Stream);
    assert_eq!(status.last_proof_at, Some(world.now));
    let kinds: Vec<_> = world.sent.iter().map(|sent| sent.request).collect();
    assert_eq!(kinds[0], Request::Pull, "data first");
    assert_eq!(kinds.iter().filter(|&&k| k == Request::Ticket).count(), 1);
    assert_eq!(kinds.iter().filter(|&&k| k == Request::Events).count(), 1);
    assert!(kinds.len() <= 5, "{kinds:?}");
}

/// A client whose replica holds what the service had an hour ago.
fn stocked() -> World {
    World::with(config_at(3), Service::default())
}

fn requests(world: &World, from: usize) -> Vec<Request> {
    world.sent[from..].iter().map(|sent| sent.request).collect()
}

#[test]
fn a_start_with_a_replica_takes_three_requests_and_so_does_a_return() {
    let mut world = stocked();
    let empty_page = Request::Pull;
    world.input(Input::Start);
    world.run_until("synced", ms(200), World::is_synced);
    let three = [Request::Ticket, Request::Events, Request::Pull];
    assert_eq!(requests(&world, 0)[..3], three);
    assert_eq!(requests(&world, 3), [empty_page], "there was news");
    world.run(secs(30));
    for [away, back] in [
        [Input::Suspend, Input::Resume],
        [Input::Hint(Hint::NetworkDown), Input::Hint(Hint::NetworkUp)],
        [Input::Stop, Input::Start],
    ] {
        world.input(away);
        world.run(secs(5));
        let sent = world.sent.len();
        world.input(back);
        world.run_until("synced", ms(200), World::is_synced);
        assert_eq!(requests(&world, sent), three);
        world.run(secs(30));
    }
}

/// Streams and tickets fare like that at a start with a replica: the news come within this time.
fn news_come_within(most: Duration, ticket: Mood, events: Mood) -> World {
    let mut world = stocked();
    world.service.ticket = ticket;
    world.service.events = events;
    world.input(Input::Start);
    world.run_until("news", most, |world| {
        world.status().cursor == Some(Cursor(7))
    });
    world
}

#[test]
fn a_start_does_not_wait_for_long_for_streams_that_do_not_work() {
    let soon = secs(5) + ms(100);
    news_come_within(soon, Mood::Works, Mood::Silent);
    let refused = fails_after(Cause::Upstream5xx, secs(20));
    news_come_within(ms(100), Mood::Works, refused);
    for cause in [Cause::Upstream5xx, Cause::KvUnavailable] {
        news_come_within(secs(4), fails(cause), Mood::Works);
    }
    for cause in [Cause::NotFound, Cause::Forbidden, Cause::BadResponse] {
        let world = news_come_within(ms(100), fails(cause), Mood::Works);
        assert_eq!(
            requests(&world, 0)[..2],
            [Request::Ticket, Request::Pull],
            "{cause}"
        );
    }
}

#[test]
fn an_app_that_asks_at_its_start_has_the_news_after_two_round_trips() {
    let mut world = stocked();
    world.service.events = Mood::Silent;
    world.input(Input::Start);
    world.input(Input::Hint(Hint::SyncNow));
    world.run_until("news", ms(50), |world| {
        world.status().cursor == Some(Cursor(7))
    });
}

#[test]
fn answers_within_the_same_millisecond_are_no_reason_to_wait() {
    let service = Service {
        latency: ms(0),
        ..Service::default()
    };
    let mut world = World::with(Config::default(), service);
    world.input(Input::Start);
    world.run_until("synced", ms(10), World::is_synced);
}

#[test]
fn nothing_is_sent_before_start() {
    let mut world = World::new();
    world.local_writes(3);
    world.run(secs(100));
    assert!(world.sent.is_empty());
}

#[test]
fn a_closed_circuit_at_start_is_waited_out_and_probed_once() {
    let mut world = World::new();
    world
        .service
        .all(&fails_after(Cause::CircuitOpen, secs(20)));
    world.input(Input::Start);
    world.run(secs(1));
    assert_eq!(world.sent.len(), 1);
    let status = world.status();
    assert_eq!(status.cause, Some(Cause::CircuitOpen));
    assert_eq!(status.attempt, 1);
    let next = status.next_attempt_at.unwrap();
    let answered = world.sent[0].at + ms(20);
    assert!(next >= answered + secs(20) && next <= answered + secs(30));
    world.service.heal();
    world.run_until("synced", secs(32), World::is_synced);
    assert_eq!(world.sent[1].at, next, "announced to the millisecond");
    assert_eq!(world.sent[1].request, Request::Pull);
    assert!(world.now.since(next) <= ms(1_200), "the stream follows");
}

#[test]
fn a_restart_of_the_app_stays_inside_the_floor() {
    let mut first = World::synced();
    first
        .service
        .all(&fails_after(Cause::RateLimited, secs(300)));
    first.cut(Some(Cause::ConnectionLost));
    first.run(secs(10));
    assert!(first.is_degraded());
    let floors = first.engine.floors(first.now);
    assert!(floors.gate > secs(285) && floors.gate <= secs(300));

    let config = Config {
        floors,
        ..Config::default()
    };
    let mut world = World::with(config, Service::default());
    world.input(Input::Start);
    assert_eq!(world.status().cause, Some(Cause::RateLimited));
    let begun = world.now;
    assert_eq!(world.status().floor_from_server, Some(begun + floors.gate));
    world.run_until("sending", secs(310), |world| !world.sent.is_empty());
    let waited = world.now.since(begun);
    assert!(waited >= floors.gate && waited <= floors.gate + secs(1));
    world.run_until("synced", secs(3), World::is_synced);
}

#[test]
fn a_floor_from_a_broken_store_is_clamped() {
    let config = Config {
        floors: Floors {
            gate: secs(100 * 24 * 3600),
            ..Floors::default()
        },
        ..Config::default()
    };
    let mut world = World::with(config, Service::default());
    world.input(Input::Start);
    world.run_until("synced", secs(15 * 60 + 5), World::is_synced);
}

#[test]
fn a_waiting_outbox_is_pushed_after_the_first_pull() {
    let config = Config {
        backlog: Backlog {
            waiting: 250,
            ..Backlog::default()
        },
        ..Config::default()
    };
    let mut world = World::with(config, Service::default());
    world.input(Input::Start);
    assert_eq!(world.status().pending, 250);
    world.run_until("synced", secs(5), World::is_synced);
    let kinds: Vec<_> = world.sent.iter().map(|sent| sent.request).collect();
    assert_eq!(kinds[0], Request::Pull);
    assert_eq!(kinds.iter().filter(|&&k| k == Request::Push).count(), 3);
}

#[test]
fn stop_and_start_in_any_order_do_no_harm() {
    let mut world = World::synced();
    for input in [
        Input::Start,
        Input::Resume,
        Input::Suspend,
        Input::Suspend,
        Input::Stop,
        Input::Resume,
        Input::Stop,
    ] {
        world.input(input);
    }
    assert_eq!(world.status().lifecycle, Lifecycle::Stopped);
    assert_eq!(world.status().state, SyncState::Synced, "its last one");
    let before = world.sent.len();
    world.run(secs(600));
    assert_eq!(world.sent.len(), before);
    world.input(Input::Start);
    world.run_until("synced", secs(3), World::is_synced);
}

#[test]
fn suspend_aborts_and_resume_proves_anew() {
    let mut world = World::synced();
    world.input(Input::Suspend);
    assert!(!world.has_stream());
    assert_eq!(world.status().link, Link::None);
    world.service.head += 3;
    world.run(secs(3600));
    world.input(Input::Resume);
    world.run_until("caught up", secs(3), |world| {
        world.is_synced() && world.status().cursor == Some(Cursor(10))
    });
}

#[test]
fn a_deploy_fault_for_an_hour_heals_without_the_app() {
    let mut world = World::synced();
    world.service.all(&fails(Cause::OriginUnconfigured));
    world.cut(None);
    world.run(secs(3600));
    assert_eq!(world.status().cause, Some(Cause::OriginUnconfigured));
    let hour = world.sent_since(world.now - secs(3000)).len();
    assert!(hour <= 20, "slow probes, not {hour}");
    world.service.heal();
    world.run_until("synced", secs(305), World::is_synced);
}

#[test]
fn a_quiet_engine_weighs_less_than_a_kibibyte() {
    let bytes = std::mem::size_of::<evenkeel_proto::Engine>();
    // On the heap it holds nothing once its outputs are drained.
    assert!(bytes < 1_024, "{bytes}");
}
