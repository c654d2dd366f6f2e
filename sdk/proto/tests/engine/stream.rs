//! The stream: tickets, watchdogs, closing and flapping.

use std::time::Duration;

use evenkeel_proto::engine::{Config, Hint, Input, StreamEvent};
use evenkeel_proto::wire::Cursor;
use evenkeel_proto::{Ask, Cause, Failure, Layer, Request, SyncState};

use crate::world::{Mood, Sent, Service, World, fails, ms, secs};

fn count(world: &World, request: Request) -> usize {
    world.sent.iter().filter(|s| s.request == request).count()
}

#[test]
fn at_a_start_the_stream_follows_a_successful_probe_within_a_second() {
    let mut longest = Duration::ZERO;
    for seed in 0..20 {
        let config = Config {
            seed,
            ..Config::default()
        };
        let mut world = World::with(config, Service::default());
        world.service.all(&fails(Cause::ConnectFailed));
        world.input(Input::Start);
        world.run(secs(200));
        world.service.heal();
        let sent = world.sent.len();
        world.run_until("ticket", secs(32), |world| {
            world.sent[sent..]
                .iter()
                .any(|s| s.request == Request::Ticket)
        });
        let probe = world.sent[sent];
        assert_eq!(
            probe.request,
            Request::Pull,
            "data first: there is none yet"
        );
        let after = world.now.since(probe.at);
        assert!(after <= secs(1) + ms(20));
        longest = longest.max(after);
    }
    // Those whose probes succeeded together do not all come back together.
    assert!(longest > ms(500), "{longest:?}");
}

#[test]
fn a_clean_close_is_no_outage() {
    let mut longest = Duration::ZERO;
    for seed in 0..20 {
        let mut world = World::synced_with_seed(seed);
        let (cut_at, said) = (world.now, world.said.len());
        world.cut(None);
        world.run_until("synced", secs(2), |world| {
            world.is_synced() && world.has_stream()
        });
        longest = longest.max(world.now.since(cut_at));
        never_degraded(&world, said);
    }
    // Where a deploy closes everybody's stream, not all come back together.
    assert!(longest > ms(500), "{longest:?}");
}

#[test]
fn a_ticket_that_is_refused_once_is_no_outage() {
    let mut world = World::new();
    world.service.events = fails(Cause::TicketInvalid);
    world.input(Input::Start);
    world.run_until("refused", secs(1), |w| count(w, Request::Events) == 1);
    world.run(ms(21));
    world.service.heal();
    world.run_until("synced", secs(2), World::is_synced);
    never_degraded(&world, 0);
}

fn never_degraded(world: &World, said: usize) {
    let said = &world.said[said..];
    let fine = said.iter().all(|(_, s)| s.state != SyncState::Degraded);
    assert!(fine, "{said:?}");
}

#[test]
fn a_clean_close_without_return_is_told_after_the_grace() {
    let mut world = World::synced();
    world.service.ticket = Mood::Silent;
    world.cut(None);
    world.run(secs(9));
    assert!(!world.is_degraded());
    world.run(secs(2));
    assert_eq!(world.status().cause, Some(Cause::StreamClosed));
}

#[test]
fn the_servers_retry_field_spreads_the_reconnect() {
    let mut longest = 0;
    for seed in 0..20 {
        let mut world = World::with(
            evenkeel_proto::engine::Config {
                seed,
                ..Default::default()
            },
            Default::default(),
        );
        world.input(Input::Start);
        world.run_until("synced", secs(5), World::is_synced);
        world.event(StreamEvent::Retry(secs(60)));
        world.run(secs(20));
        let cut_at = world.now;
        let tickets = count(&world, Request::Ticket);
        world.cut(None);
        world.run_until("a new ticket", secs(61), |w| {
            count(w, Request::Ticket) > tickets
        });
        longest = longest.max(world.now.since(cut_at).as_secs());
    }
    assert!(longest > 30 && longest <= 60, "{longest}");
}

#[test]
fn a_stream_that_closes_at_once_backs_off_all_the_same() {
    let mut world = World::synced();
    world.service.stream_life = Some(ms(300));
    world.cut(None);
    let begun = world.now;
    world.run(secs(600));
    let opened = world
        .sent_since(begun + secs(120))
        .iter()
        .filter(|s| s.request == Request::Events)
        .count();
    assert!(
        opened <= 8 * 4,
        "flapping: {opened} streams in eight minutes"
    );
    world.service.heal();
    world.run_until("steady", secs(120), |w| w.is_synced() && w.has_stream());
}

#[test]
fn living_takes_backoff_off_step_by_step() {
    let mut world = World::synced();
    world.service.all(&fails(Cause::ConnectFailed));
    world.cut(Some(Cause::ConnectionLost));
    world.run(secs(300));
    let failed = world.status().attempt;
    assert!(failed >= 6);
    world.service.heal();
    world.run_until("synced", secs(40), World::is_synced);
    world.run(secs(25));
    world.service.all(&fails(Cause::ConnectFailed));
    world.cut(Some(Cause::ConnectionLost));
    world.run_until("failed", secs(35), |w| {
        w.status().cause == Some(Cause::ConnectFailed)
    });
    assert_eq!(
        world.status().attempt,
        failed - 2 + 1,
        "25 s forgive two steps"
    );

    let mut world = World::synced();
    world.service.all(&fails(Cause::ConnectFailed));
    world.cut(Some(Cause::ConnectionLost));
    world.run(secs(300));
    world.service.heal();
    world.run_until("synced", secs(40), World::is_synced);
    world.run(secs(61));
    world.service.all(&fails(Cause::ConnectFailed));
    world.cut(Some(Cause::ConnectionLost));
    world.run_until("failed", secs(3), |w| {
        w.status().cause == Some(Cause::ConnectFailed)
    });
    assert_eq!(world.status().attempt, 1, "a minute forgives all");
}

#[test]
fn a_refused_ticket_is_replaced_once_at_once_and_is_no_sign_in() {
    for cause in [
        Cause::TicketRequired,
        Cause::TicketInvalid,
        Cause::TicketExpired,
        Cause::TicketReplayed,
        Cause::AuthRequired,
    ] {
        let mut world = World::synced();
        world.service.events = fails(cause);
        world.cut(None);
        world.run(secs(120));
        assert!(world.refreshes.is_empty(), "{cause}");
        assert_eq!(world.status().ask, Ask::None);
        assert_eq!(
            count(&world, Request::Ticket),
            count(&world, Request::Events)
        );
        assert!(world.polls(), "{cause}: {:?}", world.status());
        world.service.heal();
        world.run_until("synced", secs(75), World::is_synced);
    }
}

#[test]
fn a_ticket_that_comes_expired_is_not_used() {
    let mut world = World::synced();
    world.service.ticket_life = ms(10);
    world.cut(None);
    let opened = count(&world, Request::Events);
    world.run(secs(300));
    assert_eq!(count(&world, Request::Events), opened);
    assert_eq!(world.status().cause, Some(Cause::TicketExpired));
}

#[test]
fn headers_without_a_byte_are_given_up_after_ten_seconds() {
    let mut world = World::synced();
    world.service.ready = false;
    world.service.heartbeat = None;
    world.cut(None);
    world.run_until("stalled", secs(13), |w| {
        w.status().cause == Some(Cause::StreamStalled)
    });
    assert_eq!(world.status().layer, Some(Layer::Stream));
    world.run_until("polling", secs(60), World::polls);
    world.service.heal();
    world.run_until("synced", secs(75), World::is_synced);
}

#[test]
fn a_stream_whose_headers_never_come_is_given_up_after_fifteen_seconds() {
    let mut world = World::synced();
    world.service.events = Mood::Silent;
    world.cut(None);
    world.run_until("given up", secs(18), |w| {
        w.status().cause == Some(Cause::ResponseTimeout)
    });
    world.run_until("polling", secs(90), World::polls);
}

#[test]
fn a_stream_that_falls_silent_is_noticed_by_its_own_rhythm() {
    for (beat, limit) in [(20, 46), (4, 16), (60, 121)] {
        let mut world = World::new();
        world.service.heartbeat = Some(secs(beat));
        if beat > 45 {
            // Slower than the first allowance: other events keep it alive until it is known.
            world.service.heartbeat = Some(secs(40));
        }
        world.input(Input::Start);
        world.run_until("synced", secs(5), World::is_synced);
        world.run(secs(400));
        assert!(world.has_stream());
        world.service.heartbeat = None;
        let quiet_from = world.now;
        world.run_until("noticed", secs(limit), |w| {
            w.status().cause == Some(Cause::StreamStalled)
        });
        assert!(world.now.since(quiet_from) <= secs(limit));
    }
}

#[test]
fn heartbeats_that_stop_after_one_are_noticed() {
    let mut world = World::new();
    world.input(Input::Start);
    world.run_until("synced", secs(5), World::is_synced);
    world.run(secs(21));
    world.service.heartbeat = None;
    world.run_until("noticed", secs(46), World::is_degraded);
    assert_eq!(world.status().cause, Some(Cause::StreamStalled));
}

#[test]
fn a_device_that_slept_reconnects_without_alarm() {
    for hours in [8, 10 * 365 * 24] {
        for asking in [false, true] {
            let mut world = World::synced();
            let said = world.said.len();
            if asking {
                world.service.pull = Mood::Silent;
                world.input(Input::Hint(Hint::SyncNow));
                world.service.heal();
            }
            // The clock goes on during sleep, timers do not.
            world.now = world.now + secs(hours * 3600);
            world.engine.handle_timeout(world.now);
            world.input(Input::Hint(Hint::Foreground));
            world.run_until("synced", secs(3), |w| w.is_synced() && w.has_stream());
            assert!(
                world.said[said..]
                    .iter()
                    .all(|(_, s)| s.state != SyncState::Degraded)
            );
        }
    }
}

#[test]
fn late_answers_to_aborted_requests_change_nothing() {
    let mut world = World::synced();
    world.service.latency = secs(30);
    world.cut(None);
    world.run(secs(10));
    let ticket = *world.sent.last().unwrap();
    assert_eq!(ticket.request, Request::Ticket);
    world.input(Input::Suspend);
    let before = world.status();
    world.run(secs(60));
    let failure = Failure::local(Cause::DeviceRevoked, "late");
    world.input(Input::Ticket {
        id: ticket.id,
        result: Err(failure),
    });
    assert_eq!(world.status(), before);
    assert!(!world.has_stream());
}

#[test]
fn what_comes_late_from_a_stream_that_is_gone_is_not_the_new_ones() {
    let mut world = World::synced();
    let events = |sent: &&Sent| sent.request == Request::Events;
    let gone = world.sent.iter().rfind(events).unwrap().id;
    world.cut(None);
    world.run_until("back", secs(2), |w| w.is_synced() && w.has_stream());
    let sent = world.sent.len();
    let event = StreamEvent::Sync(Cursor(99));
    world.input(Input::Event { id: gone, event });
    let closed = Input::Closed {
        id: gone,
        failure: None,
    };
    world.input(closed.clone());
    world.run(secs(5));
    assert_eq!(world.sent.len(), sent);
    assert!(world.is_synced());
    // Nor where the new one has not said yet that it is ready.
    world.run(secs(20));
    world.service.ready = false;
    world.cut(None);
    world.run_until("accepted", secs(2), World::has_stream);
    let sent = world.sent.len();
    world.input(closed);
    world.run(secs(5));
    assert_eq!(world.sent.len(), sent);
}

#[test]
fn the_same_cursor_announced_twice_costs_one_pull() {
    let mut world = World::synced();
    world.change();
    world.run(ms(200));
    let pulls = count(&world, Request::Pull);
    assert_eq!(world.status().cursor, Some(Cursor(8)));
    world.announce(8);
    world.announce(8);
    world.run(ms(200));
    assert_eq!(count(&world, Request::Pull), pulls);
    assert!(world.is_synced());
    // Nor does one that comes after a pull of ours has found the change.
    world.service.head += 1;
    world.input(Input::Hint(Hint::SyncNow));
    world.run(ms(200));
    let pulls = count(&world, Request::Pull);
    world.announce(9);
    world.run(ms(200));
    assert_eq!(world.status().cursor, Some(Cursor(9)));
    assert_eq!(count(&world, Request::Pull), pulls);
}

#[test]
fn a_keystroke_does_not_make_the_badge_flicker() {
    let mut world = World::synced();
    let said = world.said.len();
    world.local_writes(1);
    world.change();
    world.run(ms(250));
    assert!(
        world.said[said..]
            .iter()
            .all(|(_, s)| s.state == SyncState::Synced),
        "{:?}",
        &world.said[said..]
    );
    world.service.latency = ms(800);
    world.local_writes(1);
    world.run(ms(310));
    assert_eq!(world.status().state, SyncState::Syncing);
    assert_eq!(world.status().pending, 1);
}

#[test]
fn a_quiet_client_is_left_to_sleep() {
    let mut world = World::synced();
    let (sent, said, wakes) = (world.sent.len(), world.said.len(), world.wakes);
    world.run(secs(24 * 3_600));
    assert_eq!(world.sent.len(), sent);
    assert_eq!(world.said.len(), said);
    assert_eq!(world.wakes, wakes, "heartbeats alone keep it awake");
}

#[test]
fn a_client_at_rest_asks_for_no_wake_up() {
    for rest in [Input::Stop, Input::Suspend, Input::Hint(Hint::NetworkDown)] {
        for failing in [false, true] {
            let mut world = World::synced();
            if failing {
                world.service.all(&fails(Cause::Upstream5xx));
                world.cut(None);
                world.run(secs(100));
            }
            world.input(rest.clone());
            world.local_writes(1);
            assert_eq!(world.engine.poll_timeout(), None, "{rest:?}");
        }
    }
}

#[test]
fn the_time_of_the_last_proof_goes_along_with_other_news() {
    let mut world = World::synced();
    world.run(secs(600));
    world.change();
    world.run(secs(1));
    let status = world.status();
    assert!(status.last_proof_at.unwrap() + secs(2) > world.now);
    let said = world.said.len();
    world.input(Input::Hint(Hint::SyncNow));
    world.run(secs(1));
    assert_eq!(world.said.len(), said, "a repeated proof alone is no news");
}
