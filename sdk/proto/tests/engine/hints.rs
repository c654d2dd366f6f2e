//! Network, token and device: what the system and the app say.

use evenkeel_proto::engine::{Hint, Input, TokenError};
use evenkeel_proto::wire::Cursor;
use evenkeel_proto::{Ask, Cause, Failure, Layer, Link};

use crate::world::{Mood, World, fails, ms, secs};

#[test]
fn offline_sends_nothing_and_comes_back_at_once() {
    let mut world = World::synced();
    world.input(Input::Hint(Hint::NetworkDown));
    let status = world.status();
    assert_eq!(status.cause, Some(Cause::Offline));
    assert_eq!(status.layer, Some(Layer::Device));
    assert_eq!(status.link, Link::None);
    assert_eq!(status.next_attempt_at, None);
    let sent = world.sent.len();
    world.local_writes(2);
    world.run(secs(3600));
    assert_eq!(world.sent.len(), sent);
    world.service.head += 2;
    world.input(Input::Hint(Hint::NetworkUp));
    world.run_until("synced", secs(2), World::is_synced);
    assert_eq!(world.status().pending, 0);
}

#[test]
fn a_refused_token_is_refreshed_once_and_the_work_goes_on() {
    let mut world = World::synced();
    world.service.pull = fails(Cause::AuthRequired);
    world.change();
    world.run(ms(30));
    assert_eq!(world.refreshes.len(), 1);
    world.service.heal();
    world.run_until("caught up", secs(1), |world| {
        world.is_synced() && world.status().cursor == Some(Cursor(8))
    });
    assert!(world.said.iter().all(|(_, s)| s.cause.is_none()));
}

#[test]
fn each_token_that_runs_out_is_refreshed_and_nobody_is_asked_to_sign_in() {
    let mut world = World::synced();
    for token in 1..4 {
        world.service.pull = fails(Cause::AuthRequired);
        world.change();
        world.run(ms(30));
        assert_eq!(world.refreshes.len(), token);
        world.service.heal();
        world.run_until("synced", secs(1), World::is_synced);
        world.run(secs(3_600));
    }
    assert!(world.said.iter().all(|(_, s)| s.cause.is_none()));
}

#[test]
fn two_refused_tokens_ask_the_app_to_sign_in() {
    let mut world = World::synced();
    world.service.all(&fails(Cause::AuthRequired));
    world.change();
    world.run(secs(1));
    let status = world.status();
    assert_eq!(status.cause, Some(Cause::AuthRequired));
    assert_eq!(status.ask, Ask::SignIn);
    assert_eq!(status.layer, Some(Layer::Account));
    assert_eq!(world.refreshes.len(), 1);
    let sent = world.sent.len();
    world.run(secs(3600));
    world.input(Input::Hint(Hint::RetryNow));
    world.input(Input::Hint(Hint::NetworkUp));
    world.run(secs(60));
    assert_eq!(world.sent.len(), sent, "only the app can go on");
    world.service.heal();
    world.input(Input::Hint(Hint::TokenChanged));
    world.run_until("synced", secs(2), World::is_synced);
    assert_eq!(world.status().ask, Ask::None);
}

#[test]
fn a_user_who_signed_out_is_not_asked_twice() {
    let mut world = World::synced();
    world.service.all(&fails(Cause::AuthRequired));
    world.service.token = Err(TokenError::SignedOut);
    world.change();
    world.run(secs(1));
    assert_eq!(world.status().ask, Ask::SignIn);
    assert_eq!(world.refreshes.len(), 1);
}

#[test]
fn an_app_that_says_itself_that_nobody_is_signed_in_is_not_asked_at_all() {
    let mut world = World::synced();
    // Without a status: the request was never sent, since the app had no token for it.
    let nobody = Failure::local(Cause::AuthRequired, "signed out");
    world.service.pull = Mood::Fails(nobody);
    world.change();
    world.run(ms(30));
    assert_eq!(world.status().ask, Ask::SignIn);
    assert!(world.refreshes.is_empty());
}

#[test]
fn a_token_provider_in_trouble_is_asked_again_with_backoff() {
    let mut world = World::synced();
    world.service.all(&fails(Cause::AuthRequired));
    world.service.token = Err(TokenError::Unavailable);
    world.change();
    world.run(secs(1));
    assert_eq!(world.status().cause, Some(Cause::TokenUnavailable));
    let sent = world.sent.len();
    let begun = world.refreshes.len();
    world.run(secs(600));
    assert_eq!(
        world.sent.len(),
        sent,
        "no request with a token known to be bad"
    );
    let asked = world.refreshes.len() - begun;
    assert!((20..=45).contains(&asked), "{asked}");
    assert!(world.status().attempt >= 20, "each is an attempt");
    world.service.heal();
    world.run_until("synced", secs(35), World::is_synced);
}

#[test]
fn a_token_provider_that_never_answers_is_given_up_after_thirty_seconds() {
    let mut world = World::synced();
    world.service.pull = fails(Cause::AuthRequired);
    world.change();
    world.run(ms(10));
    world.service.latency = secs(10_000);
    world.run(secs(29));
    assert_eq!(world.refreshes.len(), 1);
    assert!(!world.is_degraded());
    world.service.heal();
    world.service.latency = ms(20);
    world.run_until("told", secs(2), |w| {
        w.status().cause == Some(Cause::TokenUnavailable)
    });
    world.run_until("synced", secs(5), World::is_synced);
}

#[test]
fn a_revoked_device_stops_until_the_app_decides() {
    let mut world = World::synced();
    world.service.push = fails(Cause::DeviceRevoked);
    world.local_writes(1);
    world.run(ms(100));
    assert_eq!(world.status().ask, Ask::DeviceRevoked);
    assert!(!world.has_stream());
    let sent = world.sent.len();
    world.run(secs(3600));
    assert_eq!(world.sent.len(), sent);
    world.service.heal();
    world.input(Input::Stop);
    world.input(Input::Start);
    world.run_until("synced", secs(3), World::is_synced);
}

#[test]
fn a_full_disk_asks_for_room_and_goes_on_by_itself() {
    let mut world = World::synced();
    world.service.pull = fails(Cause::StorageFull);
    world.change();
    world.run(ms(100));
    assert_eq!(world.status().ask, Ask::FreeStorage);
    assert_eq!(world.status().layer, Some(Layer::Store));
    world.service.heal();
    world.run_until("synced", secs(31), World::is_synced);
    assert_eq!(world.status().ask, Ask::None);
}

#[test]
fn a_network_change_looks_again_at_once_even_in_the_slow_class() {
    let mut world = World::synced();
    world.service.all(&fails(Cause::NotTheService));
    world.cut(Some(Cause::ConnectionLost));
    world.run(secs(600));
    let sent = world.sent.len();
    world.service.heal();
    world.input(Input::Hint(Hint::NetworkUp));
    assert_eq!(world.sent.len(), sent + 1);
    world.run_until("synced", secs(2), World::is_synced);
}

#[test]
fn a_late_401_of_a_token_known_to_be_bad_is_no_sign_out() {
    let mut world = World::synced();
    world.service.all(&fails(Cause::AuthRequired));
    world.service.token = Err(TokenError::Unavailable);
    world.service.latency = ms(200);
    world.local_writes(1);
    world.service.latency = ms(20);
    world.change();
    world.run(secs(10));
    assert_eq!(world.status().cause, Some(Cause::TokenUnavailable));
    assert_eq!(world.status().ask, Ask::None);
    world.service.heal();
    world.run_until("synced", secs(35), World::is_synced);
}

#[test]
fn a_late_401_of_a_token_that_was_replaced_says_nothing_of_the_new_one() {
    let mut world = World::synced();
    world.service.all(&fails(Cause::AuthRequired));
    world.service.latency = ms(200);
    world.local_writes(1);
    world.service.latency = ms(20);
    world.change();
    world.run(ms(25));
    world.service.heal();
    world.run(secs(1));
    assert!(world.is_synced());
    assert_eq!(world.refreshes.len(), 1);
}

#[test]
fn pushes_alone_refused_are_refreshed_once_however_often_pulls_work() {
    let mut world = World::synced();
    world.service.push = fails(Cause::AuthRequired);
    world.local_writes(1);
    for _ in 0..2_000 {
        world.change();
        world.run(ms(15));
    }
    assert_eq!(world.refreshes.len(), 1);
    assert_eq!(world.status().ask, Ask::SignIn);
}

#[test]
fn a_provider_that_has_no_account_left_is_told_as_that() {
    let mut world = World::synced();
    world.run(secs(30));
    world.service.pull = fails(Cause::AuthRequired);
    world.service.token = Err(TokenError::SignedOut);
    let signed_out_at = world.now;
    world.change();
    world.run(ms(100));
    let status = world.status();
    assert_eq!(status.cause, Some(Cause::AuthRequired));
    assert_eq!(status.ask, Ask::SignIn);
    assert!(status.since >= signed_out_at, "{status:?}");
}

#[test]
fn a_new_token_of_a_client_in_order_costs_no_request() {
    let mut world = World::synced();
    world.run(secs(30));
    let sent = world.sent.len();
    world.input(Input::Hint(Hint::TokenChanged));
    world.run(secs(5));
    assert_eq!(world.sent.len(), sent);
    assert!(world.is_synced());
}

#[test]
fn a_new_token_beside_a_live_stream_leaves_a_quiet_client_behind() {
    let mut world = World::synced();
    world.service.pull = fails(Cause::AuthRequired);
    world.service.token = Err(TokenError::Unavailable);
    world.change();
    world.run(secs(1));
    world.service.heal();
    world.input(Input::Hint(Hint::TokenChanged));
    world.run_until("synced", secs(2), World::is_synced);
    world.run(secs(100));
    let wakes = world.wakes;
    world.run(secs(3_600));
    assert_eq!(world.wakes, wakes);
}

#[test]
fn the_network_is_tried_though_the_app_has_just_hinted() {
    let mut world = World::synced();
    world.service.all(&fails(Cause::NotTheService));
    world.cut(Some(Cause::ConnectionLost));
    world.run(secs(600));
    world.input(Input::Hint(Hint::Foreground));
    world.run(secs(2));
    world.service.heal();
    let sent = world.sent.len();
    world.input(Input::Hint(Hint::NetworkUp));
    assert_eq!(world.sent.len(), sent + 1);
}
