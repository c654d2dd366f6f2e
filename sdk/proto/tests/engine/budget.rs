//! The budget: what a steady outage costs, of one kind or of several at once, and that no debt of the
//! past keeps the client from a service that is well again.

use evenkeel_proto::engine::{Hint, Input};
use evenkeel_proto::policy::{Class, REQUESTS, rule};
use evenkeel_proto::{Cause, Request, Timestamp};

use crate::world::{Mood, World, fails, fails_after, ms, secs};

#[test]
fn a_steady_outage_costs_at_most_four_requests_a_minute() {
    for cause in Cause::ALL.iter().copied() {
        if rule(cause, Request::Pull).class == Class::Ask {
            continue;
        }
        for seed in 0..SEEDS {
            let mut world = World::synced_with_seed(seed);
            world.service.all(&fails(cause));
            world.cut(Some(Cause::ConnectionLost));
            world.local_writes(3);
            let begun = world.now;
            world.run(secs(1800));
            let label = format!("{cause}, seed {seed}");
            at_most_four_a_minute(&world, begun + secs(60), &label);
        }
    }
}

#[test]
fn an_outage_of_one_kind_of_request_costs_no_more() {
    for request in REQUESTS {
        for &cause in Cause::ALL {
            if rule(cause, request).class == Class::Ask {
                continue;
            }
            for seed in 0..SEEDS {
                let mut world = World::synced_with_seed(seed);
                fail(&mut world, request, fails(cause));
                world.cut(Some(Cause::ConnectionLost));
                world.local_writes(1);
                let begun = world.now;
                world.run(secs(1800));
                let label = format!("{cause} on {request:?}, seed {seed}");
                // The slow class finds out later that the rest works, and begins to poll.
                at_most_four_a_minute(&world, begun + secs(180), &label);
            }
        }
    }
}

#[test]
fn an_outage_of_several_kinds_at_once_costs_no_more() {
    let causes = [
        Cause::Upstream5xx,
        Cause::NetworkError,
        Cause::CircuitOpen,
        Cause::BadResponse,
        Cause::TicketInvalid,
    ];
    for kinds in 1..8_u8 {
        for (i, cause) in causes.into_iter().enumerate() {
            for mood in [fails(cause), fails_after(cause, secs(1)), Mood::Silent] {
                for seed in 0..SEEDS {
                    several(kinds, i, &causes, &mood, seed);
                }
            }
        }
    }
}

fn several(kinds: u8, first: usize, causes: &[Cause], mood: &Mood, seed: u64) {
    let mut world = World::synced_with_seed(seed);
    let lanes = [Request::Events, Request::Push, Request::Pull];
    for (bit, request) in lanes.into_iter().enumerate() {
        if kinds & (1 << bit) != 0 {
            // Not the same fault everywhere.
            let other = fails(causes[(first + bit) % causes.len()]);
            let mood = if bit == 0 { mood.clone() } else { other };
            fail(&mut world, request, mood);
        }
    }
    world.cut(Some(Cause::ConnectionLost));
    world.local_writes(1);
    let begun = world.now;
    world.run(secs(1800));
    let label = format!("{}, {kinds:#b}, {mood:?}, seed {seed}", causes[first]);
    // What was saved up in a long wait may go out together, but not on the whole.
    at_most(10, &world, begun + secs(180), &label);
    let sent = world.sent_since(begun + secs(180)).len();
    assert!(sent <= 10 + 4 * 27, "{label}: {sent} in 27 minutes");
}

#[test]
fn a_service_that_works_every_other_time_costs_no_more() {
    for cause in [Cause::Upstream5xx, Cause::NetworkError] {
        let mut world = World::synced();
        world.service.events = fails(cause);
        world.service.push = fails(cause);
        world.cut(Some(Cause::ConnectionLost));
        world.local_writes(1);
        let begun = world.now;
        for turn in 0..360 {
            world.service.pull = if turn % 2 == 0 {
                fails(cause)
            } else {
                Mood::Works
            };
            world.run(secs(5));
        }
        let sent = world.sent_since(begun).len();
        assert!(sent <= 10 + 4 * 30, "{cause}: {sent} in half an hour");
    }
}

#[test]
fn hints_without_end_leave_no_debt_behind() {
    for hint in [Hint::RetryNow, Hint::NetworkUp] {
        let mut world = World::synced();
        world.service.all(&fails(Cause::ConnectFailed));
        world.cut(Some(Cause::ConnectionLost));
        for _ in 0..600 {
            world.input(Input::Hint(hint));
            world.run(secs(6));
        }
        world.service.heal();
        world.run_until("synced", secs(90), World::is_synced);
    }
}

#[test]
fn a_network_that_comes_and_goes_leaves_no_debt_behind() {
    for stream_alone in [false, true] {
        let mut world = World::synced();
        if stream_alone {
            world.service.events = fails(Cause::Upstream5xx);
        } else {
            world.service.all(&fails(Cause::ConnectFailed));
        }
        for _ in 0..300 {
            world.input(Input::Hint(Hint::NetworkDown));
            world.run(secs(1));
            world.input(Input::Hint(Hint::NetworkUp));
            world.run(secs(1));
        }
        world.service.heal();
        world.run_until("synced", secs(90), World::is_synced);
        // What was really tried has been paid for; a minute earns the next return.
        world.run(secs(60));
        world.cut(None);
        world.run_until("back", secs(2), |w| w.is_synced() && w.has_stream());
    }
}

#[test]
fn ten_hiccups_in_a_row_are_over_in_a_moment_and_the_next_one_is_met_later() {
    let mut world = World::synced();
    for hiccup in 0..11 {
        world.service.pull = fails(Cause::Upstream5xx);
        world.change();
        world.run_until("told", ms(50), World::is_degraded);
        world.service.heal();
        let begun = world.now;
        world.run_until("synced", secs(20), World::is_synced);
        let took = world.now.since(begun);
        if hiccup < 10 {
            assert!(took < secs(2), "hiccup {hiccup}: {took:?}");
        } else {
            assert!(took > secs(2), "the budget is used up: {took:?}");
        }
    }
}

#[test]
fn trouble_beside_a_live_stream_leaves_it_what_its_own_return_needs() {
    let mut world = World::synced();
    for _ in 0..20 {
        world.service.pull = fails_after(Cause::CircuitOpen, secs(1));
        world.change();
        world.run_until("told", ms(50), World::is_degraded);
        world.service.heal();
        world.run_until("synced", secs(70), World::is_synced);
        world.run(secs(15));
    }
    assert!(world.has_stream(), "the stream was never touched");
    world.cut(None);
    world.run_until("back", secs(2), |w| w.is_synced() && w.has_stream());
}

#[test]
fn pushes_that_fail_for_ever_do_not_keep_the_stream_from_being_tried() {
    let mut world = World::synced();
    world.service.events = fails(Cause::Upstream5xx);
    world.service.push = fails(Cause::Upstream5xx);
    world.cut(Some(Cause::ConnectionLost));
    world.local_writes(1);
    world.run(secs(600));
    let begun = world.now;
    world.run(secs(1800));
    let tried = world
        .sent_since(begun)
        .iter()
        .filter(|sent| sent.request == Request::Events)
        .count();
    assert!(tried >= 10, "{tried}");
}

fn fail(world: &mut World, request: Request, mood: Mood) {
    match request {
        Request::Ticket => world.service.ticket = mood,
        Request::Events => world.service.events = mood,
        Request::Push => world.service.push = mood,
        _ => world.service.pull = mood,
    }
}

fn at_most_four_a_minute(world: &World, since: Timestamp, label: &str) {
    at_most(4, world, since, label);
}

fn at_most(limit: usize, world: &World, since: Timestamp, label: &str) {
    let sent = world.sent_since(since);
    for (i, first) in sent.iter().enumerate() {
        let minute = sent[i..]
            .iter()
            .take_while(|sent| sent.at.since(first.at) < secs(60))
            .count();
        assert!(
            minute <= limit,
            "{label}: {minute} requests in the minute from {first:?}: {:?}",
            &sent[i..sent.len().min(i + minute)]
        );
    }
}

/// Enough that a lucky draw hides nothing.
const SEEDS: u64 = 20;
