//! Pulling: pages, late commits, pruned logs, restored databases, servers that lead nowhere.

use std::time::Duration;

use evenkeel_proto::engine::{Backlog, Config, Hint, Input, Output, Pulled};
use evenkeel_proto::wire::Cursor;
use evenkeel_proto::{Cause, Engine, Request, Timestamp};

use crate::world::{Mood, Sent, Service, World, config_at, ms, secs};

/// A new client that has read so many changes, within that time.
fn downloaded(head: u64, within: Duration) -> World {
    let service = Service {
        head,
        ..Service::default()
    };
    let mut world = World::with(Config::default(), service);
    world.input(Input::Start);
    world.run_until("synced", within, World::is_synced);
    world
}

#[test]
fn pages_are_read_until_one_is_empty() {
    let world = downloaded(2_600, secs(2));
    assert_eq!(world.status().cursor, Some(Cursor(2_600)));
}

#[test]
fn a_client_stays_far_below_the_rate_limit_under_a_storm_of_changes() {
    let mut world = World::synced();
    let begun = world.now;
    for _ in 0..3_000 {
        world.change();
        world.run(ms(100));
    }
    let sent = world.sent_since(begun);
    for (i, first) in sent.iter().enumerate() {
        let minute = sent[i..]
            .iter()
            .take_while(|s| s.at.since(first.at) < secs(60))
            .count();
        assert!(minute <= 121, "{minute} in a minute");
    }
    world.run_until("synced", secs(10), World::is_synced);
}

#[test]
fn the_overlap_is_read_again_after_the_late_commit_window() {
    let mut world = World::synced();
    world.change();
    world.run(ms(200));
    assert!(world.is_synced());
    let begun = world.now;
    world.run(secs(60));
    let again = world.sent_since(begun);
    assert_eq!(again.len(), 1, "{again:?}");
    let after = again[0].at.since(begun);
    assert!(after >= secs(9) && after <= secs(10));
}

#[test]
fn what_commits_late_after_a_snapshot_is_read_too() {
    let mut world = World::synced();
    world.change();
    world.run(ms(200));
    // A database restored from a backup, which the reading again finds out about.
    world.service.head = 5;
    world.service.pruned_below = 8;
    let snapshot = |sent: &Sent| sent.request == Request::Snapshot;
    world.run_until("a snapshot", secs(15), |w| w.sent.iter().any(snapshot));
    let replaced_at = world.now;
    world.service.pruned_below = 0;
    world.run(secs(30));
    let again = |&&(at, from): &&(Timestamp, Cursor)| at > replaced_at && from < Cursor(5);
    let again: Vec<_> = world.read_from.iter().filter(again).collect();
    assert!(
        again
            .iter()
            .any(|(at, _)| at.since(replaced_at) >= secs(10)),
        "{again:?}"
    );
    assert_eq!(world.replica.settled, Cursor(5));
}

#[test]
fn after_a_rest_what_is_new_is_not_settled_at_once() {
    let mut world = World::synced();
    world.change();
    world.run(ms(200));
    world.service.pull = Mood::Silent;
    world.run(secs(11));
    world.input(Input::Suspend);
    world.service.pull = Mood::Works;
    world.input(Input::Resume);
    world.run(secs(9));
    // The reading again has been done meanwhile, and something else comes that nobody announces.
    assert_eq!(world.replica.settled, Cursor(8));
    world.service.head += 1;
    world.run(secs(5));
    world.input(Input::Hint(Hint::SyncNow));
    world.run(secs(9));
    assert_eq!(world.replica.settled, Cursor(8));
    world.run(secs(2));
    assert_eq!(world.replica.settled, Cursor(9));
}

/// A replica at `cursor`, and what it noted.
fn settled_at(cursor: u64, settled: u64) -> Config {
    Config {
        settled: Cursor(settled),
        ..config_at(cursor)
    }
}

/// A client a while after its start, at a service whose last change of this user and of all users these are.
fn started(config: Config, head: u64, log_end: u64) -> World {
    let service = Service {
        head,
        log_end,
        ..Service::default()
    };
    let mut world = World::with(config, service);
    world.input(Input::Start);
    world.run(secs(30));
    assert!(world.is_synced());
    world
}

/// What a client reads, and from where, within a while from its start.
fn read_after_start(config: Config, head: u64) -> (Vec<u64>, World) {
    let world = started(config, head, 0);
    let read_from = world.read_from.iter().map(|&(_, from)| from.0).collect();
    (read_from, world)
}

#[test]
fn a_start_settles_what_was_not_settled_before() {
    let (read_from, world) = read_after_start(settled_at(7, 0), 7);
    assert_eq!(read_from, [7, 0]);
    assert_eq!(world.replica.settled, Cursor(7));
}

#[test]
fn what_was_settled_is_looked_at_with_the_first_pull_and_not_again() {
    let (read_from, mut world) = read_after_start(settled_at(90_000, 90_000), 90_000);
    assert_eq!(read_from, [89_500, 90_000]);
    // What comes later is read again as ever.
    world.change();
    world.run(secs(20));
    assert_eq!(world.replica.settled, Cursor(90_001));
}

#[test]
fn a_start_with_nothing_new_takes_three_requests() {
    // No change among the last numbers was this user's.
    let mut world = started(settled_at(90_000, 90_000), 89_400, 90_000);
    world.run(secs(30));
    assert!(world.is_synced());
    let requests: Vec<_> = world.sent.iter().map(|sent| sent.request).collect();
    assert_eq!(requests, [Request::Ticket, Request::Events, Request::Pull]);
}

#[test]
fn after_a_start_what_was_not_settled_is_read_again_however_far_back() {
    let (read_from, world) = read_after_start(settled_at(90_000, 89_200), 90_000);
    assert_eq!(read_from, [89_500, 90_000, 89_200, 89_700]);
    assert_eq!(world.replica.settled, Cursor(90_000));
}

#[test]
fn a_database_that_was_restored_while_nobody_looked_is_read_from_before_our_cursor() {
    // It lost what came after 89,700, and others have written since.
    let (read_from, world) = read_after_start(settled_at(90_000, 90_000), 90_200);
    assert!(read_from[0] <= 89_700, "{read_from:?}");
    assert_eq!(world.status().cursor, Some(Cursor(90_200)));
}

#[test]
fn a_database_that_was_restored_while_nobody_looked_and_ends_before_our_cursor_is_noticed() {
    let world = started(settled_at(90_000, 90_000), 89_700, 89_950);
    let snapshot = |sent: &&Sent| sent.request == Request::Snapshot;
    let snapshots: Vec<_> = world.sent.iter().filter(snapshot).collect();
    assert_eq!(snapshots.len(), 1);
    assert!(snapshots[0].at.since(world.sent[0].at) <= secs(5));
    assert_eq!(world.status().cursor, Some(Cursor(89_950)));
}

#[test]
fn what_others_wrote_meanwhile_is_no_restored_database() {
    let mut world = started(settled_at(90_000, 90_000), 90_000, 95_000);
    world.service.log_end = 99_000;
    world.announce(94_000);
    world.run(secs(30));
    assert!(world.is_synced());
    assert_eq!(world.status().cursor, Some(Cursor(99_000)));
    assert!(world.sent.iter().all(|s| s.request != Request::Snapshot));
}

#[test]
fn more_is_not_settled_than_the_replica_has() {
    let (_, mut world) = read_after_start(settled_at(5, 1_000), 7);
    // The onlooker would see a hole.
    world.change();
    world.run(secs(30));
    assert_eq!(world.status().cursor, Some(Cursor(8)));
}

#[test]
fn a_log_that_ends_before_what_is_to_be_settled_settles_nothing() {
    let mut world = World::with(settled_at(7, 3), Service::default());
    world.input(Input::Start);
    world.run(secs(5));
    world.service.head = 5;
    world.run(secs(20));
    assert_eq!(world.replica.settled, Cursor(3));
}

#[test]
fn a_page_reaches_its_end_and_an_empty_one_where_it_began() {
    let page = |next, reset_required| Pulled {
        changes: 0,
        next: Cursor(next),
        reset_required,
    };
    assert!(page(9, false).reaches(Cursor(3), Cursor(9)));
    assert!(!page(8, false).reaches(Cursor(3), Cursor(9)));
    assert!(page(0, false).reaches(Cursor(9), Cursor(9)));
    assert!(!page(0, false).reaches(Cursor(8), Cursor(9)));
    assert!(!page(9, true).reaches(Cursor(3), Cursor(9)));
}

#[test]
fn a_pruned_log_leads_to_a_snapshot_and_on() {
    let mut world = World::synced();
    world.input(Input::Suspend);
    world.service.head = 90_000;
    world.service.pruned_below = 80_000;
    world.input(Input::Resume);
    world.run_until("synced", secs(3), World::is_synced);
    assert_eq!(world.status().cursor, Some(Cursor(90_000)));
    let snapshots = world
        .sent
        .iter()
        .filter(|s| s.request == Request::Snapshot)
        .count();
    assert_eq!(snapshots, 1);
}

#[test]
fn snapshots_far_apart_are_no_loop() {
    let mut world = World::synced();
    for n in 1..=4 {
        world.service.head = 90_000 * n;
        world.service.pruned_below = world.service.head;
        world.input(Input::Hint(Hint::SyncNow));
        world.run(secs(60));
        assert!(world.is_synced(), "{n}: {:?}", world.status());
    }
}

#[test]
fn an_empty_page_without_a_cursor_says_nothing_of_the_log() {
    let service = Service {
        head: 90_000,
        shows_head: false,
        ..Service::default()
    };
    let mut world = World::with(config_at(90_000), service);
    world.input(Input::Start);
    for _ in 0..6 {
        world.run(secs(15));
        world.change();
    }
    world.run(secs(15));
    assert!(world.is_synced());
    let lowest = world.read_from.iter().map(|&(_, from)| from).min();
    assert!(lowest >= Some(Cursor(89_500)), "{lowest:?}");
}

#[test]
fn what_is_read_again_is_read_to_its_end() {
    let mut world = downloaded(900, secs(3));
    let synced_at = world.now;
    world.run(secs(15));
    let again = world.read_from.iter().filter(|(at, _)| *at > synced_at);
    let again: Vec<_> = again.map(|&(_, from)| from.0).collect();
    assert_eq!(again, [0, 500]);
}

#[test]
fn what_came_while_others_were_waited_for_is_read_again_later() {
    let mut world = World::synced();
    world.change();
    world.run(secs(6));
    world.change();
    world.run(secs(5));
    let settled_at = world.now;
    world.run(secs(12));
    let again = |&(at, from): &(Timestamp, Cursor)| {
        at > settled_at && from < world.status().cursor.unwrap()
    };
    assert!(world.read_from.iter().any(again), "{:?}", world.read_from);
}

#[test]
fn a_start_reads_a_little_again_and_not_the_whole_log() {
    let service = Service {
        head: 90_000,
        ..Service::default()
    };
    let mut world = World::with(config_at(90_000), service);
    world.input(Input::Start);
    world.run(secs(30));
    let lowest = world.read_from.iter().map(|&(_, from)| from).min();
    assert_eq!(lowest, Some(Cursor(89_500)));
}

#[test]
fn a_service_that_always_asks_for_a_snapshot_is_met_slowly() {
    let mut world = World::synced();
    world.service.pruned_below = u64::MAX;
    world.input(Input::Hint(Hint::SyncNow));
    world.run(secs(5));
    assert_eq!(world.status().cause, Some(Cause::BadResponse));
    let begun = world.now;
    world.run(secs(1800));
    assert!(world.sent_since(begun).len() <= 40);
}

#[test]
fn a_restored_database_is_noticed_by_its_low_announcement() {
    let mut world = downloaded(1_000, secs(3));
    world.run(secs(30));
    world.service.head = 400;
    world.change();
    world.run_until("reset", secs(3), |w| w.status().cursor == Some(Cursor(401)));
    world.run_until("synced", secs(3), World::is_synced);
}

#[test]
fn a_late_commit_is_looked_at_once_and_is_no_restore() {
    let mut world = World::synced();
    for _ in 0..5 {
        world.change();
    }
    world.run(secs(30));
    let sent = world.sent.len();
    world.announce(3);
    world.run(ms(500));
    let looked = &world.sent[sent..];
    assert!(!looked.is_empty());
    assert!(looked.iter().all(|s| s.request == Request::Pull));
    assert_eq!(world.status().cursor, Some(Cursor(12)));
    let sent = world.sent.len();
    world.announce(3);
    world.run(ms(500));
    assert_eq!(world.sent.len(), sent, "seen before");
}

#[test]
fn a_late_batch_is_looked_for_below_its_announcement() {
    let mut world = World::synced();
    world.service.head = 5_000;
    world.announce(5_000);
    world.run(secs(30));
    let read = world.read_from.len();
    // The highest of a hundred numbers that were taken together; others were handed out among them.
    world.announce(4_000);
    world.run(ms(500));
    let looked = world.read_from[read..].iter().map(|&(_, from)| from);
    assert!(looked.clone().any(|from| from <= Cursor(3_900)));
    assert_eq!(world.status().cursor, Some(Cursor(5_000)));
    assert!(world.sent.iter().all(|s| s.request != Request::Snapshot));
}

#[test]
fn a_late_batch_is_found_where_the_log_was_pruned_right_below_it() {
    for shows_head in [true, false] {
        let mut world = World::synced();
        world.service.head = 5_000;
        world.announce(5_000);
        world.run(secs(30));
        world.service.pruned_below = 3_990;
        world.service.shows_head = shows_head;
        let read = world.read_from.len();
        world.announce(4_000);
        world.run(secs(1));
        let looked = world.read_from[read..].iter().map(|&(_, from)| from);
        assert!(
            looked.clone().any(|from| from == Cursor(3_999)),
            "{:?}",
            world.read_from
        );
        assert!(world.sent.iter().all(|s| s.request != Request::Snapshot));
    }
}

#[test]
fn a_late_batch_that_the_log_does_not_hold_any_more_is_not_looked_for_in_a_loop() {
    let mut world = World::synced();
    world.service.head = 5_000;
    world.announce(5_000);
    world.run(secs(30));
    world.service.pruned_below = 4_500;
    let sent = world.sent.len();
    world.announce(4_000);
    world.run(secs(5));
    assert!(world.is_synced());
    let asked = &world.sent[sent..];
    assert!(asked.len() <= 4, "{asked:?}");
    assert!(asked.iter().all(|s| s.request == Request::Pull));
}

#[test]
fn a_late_batch_beside_an_overlap_that_the_log_does_not_hold_any_more_is_looked_for_once() {
    let config = config_at(5_000);
    let service = Service {
        head: 5_000,
        ..Service::default()
    };
    let mut world = World::with(config, service);
    world.input(Input::Start);
    world.run_until("synced", secs(5), World::is_synced);
    world.service.pruned_below = 4_900;
    let sent = world.sent.len();
    // While the overlap is being asked for, in vain, a batch from right behind its end is announced.
    world.run_until("the overlap", secs(15), |world| world.sent.len() > sent);
    world.announce(4_950);
    world.run(secs(5));
    assert!(world.is_synced());
    let asked = &world.sent[sent..];
    assert!(asked.len() <= 5, "{asked:?}");
    let looked = world
        .read_from
        .iter()
        .any(|&(_, from)| from == Cursor(4_949));
    assert!(looked, "{:?}", world.read_from);
}

#[test]
fn what_came_in_a_burst_is_read_again_from_before_it() {
    let mut world = World::synced();
    world.run(secs(30));
    let before = world.status().cursor.unwrap();
    // Several devices come back at once: a batch that took its numbers first may commit last.
    for _ in 0..12 {
        world.service.head += 100;
        world.announce(world.service.head);
        world.run(ms(200));
    }
    let burst_over = world.now;
    world.run(secs(12));
    let again = |&(at, from): &(Timestamp, Cursor)| at > burst_over && from <= before;
    assert!(world.read_from.iter().any(again), "{:?}", world.read_from);
}

#[test]
fn of_a_long_download_only_the_end_is_read_again() {
    let mut world = downloaded(100_000, secs(300));
    let synced_at = world.now;
    world.run(secs(30));
    let again = world.read_from.iter().filter(|(at, _)| *at > synced_at);
    let lowest = again.map(|&(_, from)| from).min();
    assert!(lowest >= Some(Cursor(97_500)), "{lowest:?}");
    assert!(lowest <= Some(Cursor(99_000)), "{lowest:?}");
}

#[test]
fn a_page_that_leads_nowhere_is_a_broken_contract() {
    let now = Timestamp::from_millis(5);
    let mut engine = Engine::new(now, Config::default());
    engine.handle_input(now, Input::Start);
    let Some(Output::Pull { id, .. }) = engine.poll_output() else {
        panic!("no pull");
    };
    let page = Pulled {
        changes: 500,
        next: Cursor(0),
        reset_required: false,
    };
    engine.handle_input(
        now,
        Input::Pulled {
            id,
            result: Ok(page),
        },
    );
    assert_eq!(engine.status().cause, Some(Cause::BadResponse));
}

/// What a new engine does after a first page without changes, which shows the end of the log there.
fn after_an_empty_page(config: Config, shown: u64, reset_required: bool) -> Vec<Output> {
    let now = Timestamp::from_millis(5);
    let mut engine = Engine::new(now, config);
    engine.handle_input(now, Input::Start);
    let mut output = engine.poll_output();
    if let Some(Output::RequestTicket { id }) = output {
        let result = Ok(now + Duration::from_secs(60));
        engine.handle_input(now, Input::Hint(Hint::SyncNow));
        engine.handle_input(now, Input::Ticket { id, result });
        output = std::iter::from_fn(|| engine.poll_output())
            .find(|output| matches!(output, Output::Pull { .. }));
    }
    let Some(Output::Pull { id, .. }) = output else {
        panic!("no pull");
    };
    let page = Pulled {
        changes: 0,
        next: Cursor(shown),
        reset_required,
    };
    let result = Ok(page);
    engine.handle_input(now, Input::Pulled { id, result });
    std::iter::from_fn(|| engine.poll_output()).collect()
}

#[test]
fn an_end_of_the_log_below_ours_is_looked_into() {
    for (shown, looks) in [(9, true), (0, false)] {
        let config = config_at(10);
        let outputs = after_an_empty_page(config, shown, false);
        let below = |output| matches!(output, Output::Pull { from, .. } if from < Cursor(10));
        assert_eq!(outputs.into_iter().any(below), looks);
    }
}

#[test]
fn a_snapshot_resumes_where_the_log_ended_before_it() {
    for (shown, expected) in [(90_000, Some(Cursor(90_000))), (0, None)] {
        let outputs = after_an_empty_page(Config::default(), shown, true);
        let resume = outputs.into_iter().find_map(|output| match output {
            Output::Snapshot { resume, .. } => Some(resume),
            _ => None,
        });
        assert_eq!(resume, Some(expected));
    }
}

#[test]
fn a_slow_but_moving_download_is_not_given_up() {
    let mut world = World::synced();
    world.service.latency = secs(300);
    world.input(Input::Hint(Hint::SyncNow));
    let pull = *world.sent.last().unwrap();
    for _ in 0..29 {
        world.run(secs(10));
        world.input(Input::Progress { id: pull.id });
    }
    assert!(!world.is_degraded());
    let mut world = World::synced();
    world.service.latency = secs(300);
    world.input(Input::Hint(Hint::SyncNow));
    world.run(secs(66));
    assert_eq!(world.status().cause, Some(Cause::ResponseTimeout));
}

#[test]
fn what_waits_is_pushed_again_after_any_failure_without_a_new_write() {
    let mut world = World::synced();
    world.service.push = crate::world::fails(Cause::Upstream5xx);
    world.input(Input::LocalChange(Backlog {
        waiting: 1,
        ..Backlog::default()
    }));
    world.waiting = 1;
    world.run(secs(300));
    world.service.heal();
    world.run_until("synced", secs(31), World::is_synced);
}

#[test]
fn what_was_in_the_making_beside_a_snapshot_is_read_afterwards() {
    let mut world = World::synced();
    world.input(Input::Suspend);
    world.service.head = 90_000;
    world.service.pruned_below = 80_000;
    world.input(Input::Resume);
    world.run_until("synced", secs(3), World::is_synced);
    let synced_at = world.now;
    world.run(secs(11));
    let again = |&(at, from): &(Timestamp, Cursor)| at > synced_at && from < Cursor(90_000);
    assert!(world.read_from.iter().any(again), "{:?}", world.read_from);
}

#[test]
fn an_overlap_that_was_pruned_costs_no_snapshot() {
    let config = config_at(90_000);
    let service = Service {
        head: 90_000,
        pruned_below: 89_900,
        ..Service::default()
    };
    let mut world = World::with(config, service);
    world.input(Input::Start);
    world.run(secs(60));
    assert!(world.is_synced());
    assert!(world.sent.iter().all(|s| s.request != Request::Snapshot));
    let near = world.read_from.iter().map(|&(_, from)| from);
    assert!(near.into_iter().any(|from| from == Cursor(89_984)));
}

#[test]
fn a_restore_is_noticed_though_its_numbers_were_announced_before() {
    let mut world = downloaded(1_000, secs(3));
    for _ in 0..3 {
        world.change();
        world.run(secs(1));
    }
    world.run(secs(30));
    world.service.head = 1_000;
    world.cut(Some(Cause::ConnectionLost));
    world.run_until("back", secs(40), |w| w.has_stream() && w.is_synced());
    world.change();
    world.run_until("reset", secs(3), |w| {
        w.status().cursor == Some(Cursor(1_001))
    });
}

#[test]
fn a_log_whose_end_keeps_falling_costs_two_snapshots_at_most() {
    let mut now = Timestamp::from_millis(5);
    let config = config_at(10_000);
    let mut engine = Engine::new(now, config);
    engine.handle_input(now, Input::Start);
    let mut snapshots = 0_u64;
    let end = now + secs(1_800);
    while now <= end {
        while let Some(output) = engine.poll_output() {
            now = now + ms(20);
            let answer = match output {
                Output::Pull { id, from, .. } => {
                    let end = 9_000 - snapshots;
                    let changes = end.saturating_sub(from.0).min(500);
                    let page = Pulled {
                        changes: u32::try_from(changes).unwrap(),
                        next: Cursor(if changes > 0 { from.0 + changes } else { end }),
                        reset_required: false,
                    };
                    Input::Pulled {
                        id,
                        result: Ok(page),
                    }
                }
                Output::Snapshot { id, .. } => {
                    snapshots += 1;
                    Input::Snapshotted {
                        id,
                        result: Ok(Cursor(10_000)),
                    }
                }
                _ => continue,
            };
            engine.handle_input(now, answer);
        }
        let Some(at) = engine.poll_timeout() else {
            break;
        };
        now = now.max(at);
        engine.handle_timeout(now);
    }
    assert!(snapshots <= 2, "{snapshots} in half an hour");
}

#[test]
fn an_answer_that_settles_nothing_is_not_asked_for_in_a_loop() {
    let mut world = World::synced();
    world.service.settles = false;
    world.local_writes(3);
    let sent = world.sent.len();
    world.run(secs(5));
    assert_eq!(world.status().cause, Some(Cause::BadResponse));
    assert!(world.sent.len() - sent <= 2, "three times in all");
    let begun = world.now;
    world.run(secs(1_800));
    let asked = world.sent_since(begun).len();
    assert!(asked <= 15, "{asked}");
    world.service.heal();
    world.run_until("synced", secs(301), World::is_synced);
}

#[test]
fn a_snapshot_and_a_push_are_never_under_way_together() {
    for mood in [Mood::Works, Mood::Silent] {
        let mut world = World::synced();
        world.service.push = mood.clone();
        world.local_writes(1);
        // The push is under way when the log turns out to be pruned.
        world.service.head += 1;
        world.service.pruned_below = world.service.head;
        world.input(Input::Hint(Hint::SyncNow));
        world.run_until("a snapshot", secs(70), |world| {
            world.sent.iter().any(|s| s.request == Request::Snapshot)
        });
        let snapshot = world.sent[world.sent.len() - 1];
        let mut pushes = world.sent.iter().filter(|s| s.request == Request::Push);
        let push = pushes.next_back().expect("a push").id;
        assert!(
            !world.awaits(push),
            "{mood:?}: before its answer came, or was given up"
        );
        // A write meanwhile waits until it has arrived.
        world.service.push = Mood::Works;
        let sent = world.sent.len();
        world.local_writes(1);
        assert_eq!(world.sent.len(), sent);
        world.run_until("another push", secs(60), |world| {
            world.sent[sent..]
                .iter()
                .any(|s| s.request == Request::Push)
        });
        assert!(!world.awaits(snapshot.id));
    }
}
