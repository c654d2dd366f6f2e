//! Polling when the stream does not work, and back.

use evenkeel_proto::engine::{Config, Hint, Input};
use evenkeel_proto::{Cause, Link, Request, SyncState};

use crate::world::{Mood, Service, World, fails, fails_after, ms, secs};

fn polling(events: Mood) -> World {
    let mut world = World::synced();
    world.service.events = events;
    world.cut(Some(Cause::ConnectionLost));
    world.run_until("polling", secs(90), World::polls);
    world
}

#[test]
fn pulls_go_on_at_their_cadence_while_events_answer_503() {
    let mut world = polling(fails_after(Cause::Upstream5xx, secs(20)));
    world.run(secs(60));
    let begun = world.now;
    world.run(secs(600));
    let sent = world.sent_since(begun);
    let pulls: Vec<_> = sent.iter().filter(|s| s.request == Request::Pull).collect();
    assert!((17..=20).contains(&pulls.len()), "{}", pulls.len());
    for pair in pulls.windows(2) {
        let gap = pair[1].at.since(pair[0].at);
        assert!(gap >= secs(30) && gap <= ms(35_100), "{gap:?}");
    }
    let streams = sent.iter().filter(|s| s.request == Request::Events).count();
    assert!((8..=10).contains(&streams), "{streams}");
    assert_eq!(world.status().link, Link::Polling);
    assert_eq!(world.status().state, SyncState::Degraded);
    assert_eq!(world.status().cause, Some(Cause::Upstream5xx));
}

#[test]
fn an_app_may_be_polled_for_twice_a_day() {
    let hours = |n: u64| secs(n * 3_600);
    let config = Config {
        poll_every: hours(12),
        ..Config::default()
    };
    let mut world = World::with(config, Service::default());
    world.service.events = fails(Cause::Upstream5xx);
    world.input(Input::Start);
    world.run_until("polling", secs(300), World::polls);
    world.run(secs(60));
    let begun = world.now;
    world.run(hours(60));
    let sent = world.sent_since(begun);
    let pulls = sent.iter().filter(|s| s.request == Request::Pull).count();
    assert!((4..=6).contains(&pulls), "{pulls}");
}

#[test]
fn polling_carries_the_data_both_ways() {
    let mut world = polling(fails(Cause::TicketStorageUnavailable));
    world.service.head += 5;
    world.local_writes(3);
    world.run(secs(36));
    assert_eq!(world.status().pending, 0);
    assert_eq!(world.status().cursor.unwrap().0, world.service.head);
    assert!(world.is_degraded(), "without a stream there is no proof");
}

#[test]
fn the_first_proof_on_a_stream_ends_polling() {
    let mut world = polling(fails(Cause::Upstream5xx));
    world.run(secs(120));
    world.service.heal();
    world.run_until("synced", secs(75), World::is_synced);
    assert_eq!(world.status().link, Link::Stream);
    world.run(secs(15));
    let begun = world.now;
    world.run(secs(300));
    assert!(
        world.sent_since(begun).is_empty(),
        "a quiet client asks for nothing"
    );
}

#[test]
fn ninety_seconds_without_a_stream_are_enough() {
    let mut world = World::synced();
    world.service.ready = false;
    world.service.events = Mood::Silent;
    world.service.ticket = Mood::Silent;
    world.cut(None);
    world.run_until("polling", secs(92), World::polls);
}

#[test]
fn a_client_whose_first_ticket_is_put_off_for_long_polls_meanwhile() {
    let mut world = World::new();
    world.service.ticket = fails_after(Cause::Upstream5xx, secs(600));
    world.input(Input::Start);
    world.run_until("polling", secs(92), World::polls);
}

#[test]
fn polling_begins_once_pulls_work_and_the_stream_waits_for_neither() {
    let apart = || {
        let mut world = World::synced();
        world.service.events = fails_after(Cause::Upstream5xx, secs(120));
        world.service.pull = fails(Cause::ConnectionLost);
        world.change();
        world.run(secs(3));
        world.cut(Some(Cause::ConnectionLost));
        world.writes_on(22);
        assert_eq!(world.status().link, Link::None, "nothing comes that way");
        world
    };
    let mut world = apart();
    world.service.pull = Mood::Works;
    world.run_until("polling", secs(31), World::polls);

    let mut world = apart();
    world.service.events = Mood::Works;
    world.run_until("on a stream", secs(120), World::has_stream);
}

#[test]
fn a_stream_that_fails_behind_a_closed_gate_does_not_lead_to_polling() {
    let mut world = World::synced();
    world.service.events = fails(Cause::Upstream5xx);
    world.service.latency = secs(2);
    let opened = world.sent.len();
    world.cut(Some(Cause::ConnectionLost));
    world.run_until("tried twice", secs(40), |w| {
        let sent = w.sent[opened..].iter();
        sent.filter(|s| s.request == Request::Events).count() == 2
    });
    // While that one is under way, another finds that nobody is there.
    world.service.latency = ms(20);
    world.service.push = fails(Cause::NetworkError);
    world.local_writes(1);
    world.run(secs(3));
    assert_eq!(world.status().cause, Some(Cause::NetworkError));
    world.service.heal();
    let begun = world.said.len();
    world.run_until("synced", secs(60), World::is_synced);
    assert!(
        world.said[begun..]
            .iter()
            .all(|(_, s)| s.link != Link::Polling)
    );
}

#[test]
fn the_ticket_endpoint_alone_being_down_does_not_stop_pulls() {
    let mut world = World::synced();
    world.service.ticket = fails_after(Cause::Upstream5xx, secs(20));
    world.cut(Some(Cause::ConnectionLost));
    world.run_until("polling", secs(120), World::polls);
    world.run(secs(60));
    let begun = world.now;
    world.run(secs(300));
    let pulls = world
        .sent_since(begun)
        .iter()
        .filter(|s| s.request == Request::Pull)
        .count();
    assert!(pulls >= 8, "{pulls}");
}

#[test]
fn an_outage_while_polling_closes_the_gate_and_ends_as_it_should() {
    let mut world = polling(fails(Cause::Upstream5xx));
    world
        .service
        .all(&fails_after(Cause::NetworkError, secs(20)));
    world.run_until("told", secs(40), |w| {
        w.status().cause == Some(Cause::NetworkError)
    });
    assert_eq!(world.status().link, Link::None);
    world.run(secs(100));
    world.service.heal();
    let next = world.status().next_attempt_at.unwrap();
    world.run_until("synced", secs(60), World::is_synced);
    assert!(world.now.since(next) <= secs(2));
}

#[test]
fn a_metered_network_or_a_hidden_app_is_polled_less_often() {
    for hint in [Hint::NetworkMetered, Hint::Background] {
        let mut world = polling(fails(Cause::Upstream5xx));
        world.input(Input::Hint(hint));
        world.run(secs(120));
        let begun = world.now;
        world.run(secs(1200));
        let pulls = world
            .sent_since(begun)
            .iter()
            .filter(|s| s.request == Request::Pull)
            .count();
        assert!((8..=11).contains(&pulls), "{pulls}");
    }
}

#[test]
fn a_stream_that_works_ends_polling_though_pushes_fail() {
    let mut world = polling(fails(Cause::Upstream5xx));
    world.service.push = fails(Cause::Upstream5xx);
    world.local_writes(1);
    world.service.events = Mood::Works;
    world.run_until("on a stream", secs(200), World::has_stream);
    world.run(secs(60));
    assert_eq!(world.status().link, Link::Stream);
    let begun = world.now;
    world.run(secs(600));
    let sent = world.sent_since(begun);
    assert!(sent.iter().all(|s| s.request == Request::Push), "{sent:?}");
}

#[test]
fn an_app_that_comes_to_the_users_eyes_is_polled_for_at_once() {
    let mut world = polling(fails(Cause::Upstream5xx));
    world.input(Input::Hint(Hint::Background));
    world.run(secs(300));
    let sent = world.sent.len();
    world.input(Input::Hint(Hint::Foreground));
    assert!(
        world.sent[sent..]
            .iter()
            .any(|s| s.request == Request::Pull)
    );
}

#[test]
fn polls_that_may_not_go_out_are_no_link() {
    let mut world = polling(fails(Cause::Upstream5xx));
    world.service.push = fails(Cause::NetworkError);
    world.local_writes(1);
    world.run(ms(100));
    assert_eq!(world.status().cause, Some(Cause::NetworkError));
    assert_eq!(world.status().link, Link::None);
}
