//! What a client does for the sake of all the others that come back with it; `tests/sim` shows why.

use std::time::Duration;

use evenkeel_proto::engine::{Hint, Input, StreamEvent};
use evenkeel_proto::{Cause, Link, Request};

use crate::world::{Mood, World, fails, fails_after, ms, secs};

fn requests(world: &World, from: usize) -> Vec<Request> {
    world.sent[from..].iter().map(|sent| sent.request).collect()
}

/// Loses its stream while everything fails in that way, and comes to rest.
fn after_an_outage(mood: &Mood) -> World {
    let mut world = World::synced();
    world.service.all(mood);
    world.cut(Some(Cause::ConnectionLost));
    world.run(secs(100));
    world
}

#[test]
fn coming_back_takes_three_requests() {
    for cause in [
        Cause::NetworkError,
        Cause::CircuitOpen,
        Cause::ConnectFailed,
    ] {
        let mut world = after_an_outage(&fails_after(cause, secs(20)));
        world.service.heal();
        let sent = world.sent.len();
        world.run_until("synced", secs(60), World::is_synced);
        let expected = [Request::Ticket, Request::Events, Request::Pull];
        assert_eq!(requests(&world, sent), expected, "{cause}");
    }
}

#[test]
fn what_waits_to_be_sent_does_not_wait_for_the_stream() {
    let mut world = after_an_outage(&fails_after(Cause::CircuitOpen, secs(20)));
    world.local_writes(1);
    world.service.heal();
    world.service.events = Mood::Silent;
    let sent = world.sent.len();
    world.run_until("sent", secs(60), |world| world.status().pending == 0);
    let probe = world.sent[sent].at;
    assert!(world.now.since(probe) <= ms(50));
}

/// After an outage streams fare like that: the news come within this time of the probe.
fn news_come_within(most: Duration, events: Mood) {
    let mut world = after_an_outage(&fails_after(Cause::CircuitOpen, secs(20)));
    world.service.heal();
    world.service.events = events;
    let behind = world.status().cursor;
    world.service.head += 3;
    let sent = world.sent.len();
    world.run_until("data", secs(60), |world| world.status().cursor > behind);
    let probe = world.sent[sent].at;
    assert!(world.now.since(probe) <= most, "{:?}", &world.sent[sent..]);
}

#[test]
fn a_stream_that_hangs_does_not_keep_the_data() {
    news_come_within(secs(5) + ms(100), Mood::Silent);
}

#[test]
fn nor_does_one_that_is_refused() {
    news_come_within(ms(100), fails(Cause::Upstream5xx));
}

#[test]
fn the_app_that_asks_for_data_gets_it_at_once() {
    let mut world = after_an_outage(&fails_after(Cause::CircuitOpen, secs(20)));
    world.service.heal();
    world.service.events = Mood::Silent;
    let sent = world.sent.len();
    world.run_until("stream asked for", secs(60), |world| {
        requests(world, sent).contains(&Request::Events)
    });
    world.input(Input::Hint(Hint::SyncNow));
    assert_eq!(requests(&world, sent).last(), Some(&Request::Pull));
}

#[test]
fn a_ticket_that_fails_by_itself_is_no_probe_for_long() {
    for cause in [Cause::Upstream5xx, Cause::KvUnavailable, Cause::ServerError] {
        let mut world = after_an_outage(&fails_after(Cause::CircuitOpen, secs(20)));
        world.service.heal();
        world.service.ticket = fails_after(cause, secs(5));
        let behind = world.status().cursor;
        world.service.head += 3;
        world.run_until("data", secs(120), |world| world.status().cursor > behind);
        world.run_until("polling", secs(120), World::polls);
    }
}

#[test]
fn a_closed_circuit_says_nothing_about_streams() {
    let mut world = after_an_outage(&fails_after(Cause::CircuitOpen, secs(2)));
    world.service.heal();
    let sent = world.sent.len();
    // Four of the stream's own requests meet the closed circuit, the pulls in between work.
    for _ in 0..4 {
        world.service.ticket = fails_after(Cause::CircuitOpen, secs(2));
        world.run(secs(45));
        world.service.heal();
        world.service.events = fails_after(Cause::CircuitOpen, secs(2));
        world.run(secs(45));
    }
    assert!(!requests(&world, sent).is_empty());
    assert_ne!(world.status().link, Link::Polling);
}

#[test]
fn a_floor_is_spread_over_half_of_it_and_twice_as_long_with_each_failure() {
    for (floor, failures, most) in [
        (secs(20), 1, secs(10)),
        (secs(20), 2, secs(20)),
        (secs(20), 3, secs(40)),
        (secs(20), 6, secs(60)),
        (secs(12), 6, secs(36)),
        (secs(40), 1, secs(20)),
        (secs(40), 4, secs(30)),
        (secs(200), 1, secs(30)),
        (secs(600), 2, secs(60)),
    ] {
        let waits = (0..200).map(|seed| {
            let mut world = World::synced_with_seed(seed);
            world.service.all(&fails_after(Cause::CircuitOpen, floor));
            world.local_writes(1);
            for _ in 1..failures {
                world.run(ms(100));
                let next = world.status().next_attempt_at.expect("an attempt");
                world.run(next.since(world.now));
            }
            world.run(ms(100));
            let status = world.status();
            let from = status.floor_from_server.expect("a floor");
            status.next_attempt_at.expect("an attempt").since(from)
        });
        let waits: Vec<Duration> = waits.collect();
        let label = format!("{floor:?} after {failures}");
        assert!(waits.iter().all(|&wait| wait <= most), "{label}");
        let late = waits.iter().filter(|&&wait| wait > most / 2).count();
        assert!(
            (70..=130).contains(&late),
            "{label}: {late} of 200 in the later half"
        );
    }
}

#[test]
fn a_broken_stream_is_spread_as_the_server_said_last() {
    for broken in [Some(Cause::ConnectionLost), None] {
        let mut waits: Vec<Duration> = (0..60)
            .map(|seed| {
                let mut world = World::synced_with_seed(seed);
                // The service learns that it has more clients than it knew.
                world.event(StreamEvent::Retry(secs(10)));
                world.event(StreamEvent::Retry(secs(240)));
                let (cut_at, sent) = (world.now, world.sent.len());
                world.cut(broken);
                // Neither an impatient user nor the time without a stream undercuts that.
                world.input(Input::Hint(Hint::RetryNow));
                world.run(ms(400));
                world.run_until("back", secs(241), World::is_synced);
                assert_eq!(
                    requests(&world, sent),
                    [Request::Ticket, Request::Events, Request::Pull]
                );
                world.sent[sent].at.since(cut_at)
            })
            .collect();
        waits.sort();
        assert!(waits[15] >= secs(35) && waits[45] <= secs(210), "{waits:?}");
        assert!(waits[30] >= secs(75) && waits[30] <= secs(165), "{waits:?}");
    }
}
