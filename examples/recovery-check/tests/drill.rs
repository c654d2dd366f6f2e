//! `drill rotation`, against a real service whose secret is really changed.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::Read as _;

use common::rotation::{NEW, OLD, Scene, evidence, state_of};
use common::{control, get, stderr, url};
use serde_json::Value;

#[test]
fn a_rotation_with_an_overlap_passes_from_begin_to_finish() {
    // Long enough for the steps up to the check, short enough to be waited for.
    let scene = Scene::new(&["ai_session_ms=12000"]);
    // What the service says of times is on its own clock.
    scene.fault("clock_skew_s", "-36000");
    let (code, begun) = scene.step("begin", &[]);
    assert_eq!(
        (code, &begun["verdict"]),
        (Some(0), &"passed".into()),
        "{begun}"
    );
    assert_eq!(
        begun["commands"],
        serde_json::json!([
            "npx wrangler secret put KEY_ENCRYPTION_SECRET_PREV --config worker/wrangler.toml",
            "npm run worker:secret:set",
            "npm run worker:deploy",
        ])
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(scene.file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    scene.change_secret();
    let (code, checked) = scene.step("check", &[]);
    assert_eq!(
        (code, &checked["verdict"]),
        (Some(0), &"passed".into()),
        "{checked}"
    );
    let moved = evidence(&checked, "reencrypted");
    assert!(moved.contains("rose by 2, 2 were under"), "{moved}");
    let (code, again) = scene.step("check", &[]);
    assert_eq!(code, Some(0), "{again}");
    let moved = evidence(&again, "reencrypted");
    assert!(moved.contains("rose by 0, 0 were under"), "{moved}");

    let early = scene.wait_for_the_lifetime();
    assert!(evidence(&early, "lifetime").contains("wait "), "{early}");
    assert_eq!(early["commands"].as_array().unwrap().len(), 0);

    let (code, unseen) = scene.step("finish", &["--window", "100ms"]);
    assert_eq!(
        (code, &unseen["verdict"]),
        (Some(3), &"unknown".into()),
        "{unseen}"
    );
    assert_eq!(state_of(&unseen, "account_keys"), "unknown");
    assert_eq!(unseen["commands"].as_array().unwrap().len(), 0);
    let allowing = ["--window", "100ms", "--allow-unknown", "accounts"];
    let (code, finished) = scene.step("finish", &allowing);
    assert_eq!(
        (code, &finished["verdict"]),
        (Some(0), &"passed".into()),
        "{finished}"
    );
    assert_eq!(
        finished["commands"],
        serde_json::json!([
            "npx wrangler secret delete KEY_ENCRYPTION_SECRET_PREV --config worker/wrangler.toml"
        ])
    );
    let status = get(scene.edge(), "/api/v1/auth/status");
    assert_eq!(
        status["connected"], false,
        "the account's session was closed: {status}"
    );
    let (code, again) = scene.step("finish", &[]);
    assert_eq!((code, state_of(&again, "finished")), (Some(0), "pass"));
    assert_eq!(again["commands"], finished["commands"]);
    let over = scene.drill("check", &[]);
    assert_eq!(over.status.code(), Some(2));
    assert!(stderr(&over).contains("is finished"), "{}", stderr(&over));
    scene.tells_no_secret();
}

#[test]
fn a_clock_that_is_ahead_ends_no_overlap() {
    let scene = Scene::new(&[]);
    assert_eq!(scene.step("begin", &[]).0, Some(0));
    scene.change_secret();
    assert_eq!(scene.step("check", &[]).0, Some(0));
    // As if the clock had been put forward by two days since.
    let mut state: Value =
        serde_json::from_str(&fs::read_to_string(scene.file()).unwrap()).unwrap();
    let passed = state["first_pass_ms"].as_u64().unwrap();
    state["first_pass_ms"] = (passed - 2 * 24 * 3600 * 1000).into();
    fs::write(scene.file(), state.to_string()).unwrap();
    let (code, early) = scene.step("finish", &["--window", "0s", "--allow-unknown", "accounts"]);
    assert_eq!(
        (code, state_of(&early, "lifetime")),
        (Some(1), "fail"),
        "{early}"
    );
    assert!(
        evidence(&early, "lifetime").contains("the clock is ahead"),
        "{early}"
    );
    assert_eq!(early["commands"].as_array().unwrap().len(), 0);
}

#[test]
fn an_accounts_own_session_is_used_and_left_alone() {
    let scene = Scene::new(&["ai_session_ms=12000"]);
    let connect = r#"{"provider":"openrouter","apiKey":"the-users-own"}"#;
    control(scene.edge(), "POST", "/api/v1/auth/connect", connect);
    let (code, begun) = scene.step("begin", &[]);
    assert_eq!(code, Some(0), "{begun}");
    assert!(evidence(&begun, "account").contains("was there already"));
    scene.change_secret();
    // Its user comes before the check does.
    let analyze = || {
        control(
            scene.edge(),
            "POST",
            "/api/v1/ai/analyze",
            r#"{"content":"x"}"#,
        );
    };
    analyze();
    let (code, checked) = scene.step("check", &[]);
    assert_eq!(code, Some(0), "{checked}");
    let moved = evidence(&checked, "reencrypted");
    assert!(moved.contains("by a call of its user's"), "{moved}");
    scene.wait_for_the_lifetime();
    let (code, done) = scene.step("finish", &["--window", "0s", "--allow-unknown", "accounts"]);
    assert_eq!(code, Some(0), "{done}");
    let status = get(scene.edge(), "/api/v1/auth/status");
    assert_eq!(status["connected"], true);
    assert_eq!(status["provider"], "openrouter");
    // The command that `finish` printed.
    let overlap = "/secrets/KEY_ENCRYPTION_SECRET_PREV";
    control(url(&scene.urls, "control"), "DELETE", overlap, "");
    scene.restart();
    analyze();
}

#[test]
fn a_session_that_its_user_connected_since_is_not_closed() {
    let scene = Scene::new(&["ai_session_ms=12000"]);
    assert_eq!(scene.step("begin", &[]).0, Some(0));
    scene.change_secret();
    assert_eq!(scene.step("check", &[]).0, Some(0));
    let connect = r#"{"provider":"openrouter","apiKey":"the-users-own"}"#;
    control(scene.edge(), "POST", "/api/v1/auth/connect", connect);
    scene.wait_for_the_lifetime();
    let (code, done) = scene.step("finish", &["--window", "0s", "--allow-unknown", "accounts"]);
    assert_eq!(code, Some(0), "{done}");
    let status = get(scene.edge(), "/api/v1/auth/status");
    assert_eq!(status["connected"], true, "{status}");
}

#[test]
fn a_check_that_could_not_see_is_made_good_by_the_next_one() {
    let scene = Scene::new(&[]);
    assert_eq!(scene.step("begin", &[]).0, Some(0));
    scene.change_secret();
    for _ in 0..8 {
        get(scene.edge(), "/api/v1/auth/status");
    }
    scene.fault("provider_latency_ms", "400");

    // Restarted between its samples.
    let mut check = scene.check_under_way();
    scene.restart();
    let mut text = String::new();
    let mut told = check.0.stdout.take().unwrap();
    told.read_to_string(&mut text).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(check.0.wait().unwrap().code(), Some(3), "{report}");
    assert_eq!(state_of(&report, "counters"), "unknown", "{report}");

    // Killed after its first call.
    drop(scene.check_under_way());
    let kept = fs::read_to_string(scene.file()).unwrap();
    // The account's was seen to move after the restart.
    assert_eq!(kept.matches("\"unsure\"").count(), 2, "{kept}");

    scene.fault("provider_latency_ms", "0");
    let (code, seen) = scene.step("check", &[]);
    assert_eq!(code, Some(0), "{seen}");
    let moved = evidence(&seen, "reencrypted");
    assert!(moved.contains("1 were under"), "{moved}");
}

#[test]
fn a_new_secret_without_an_overlap_fails_and_so_does_none_at_all() {
    let scene = Scene::new(&[]);
    assert_eq!(scene.step("begin", &[]).0, Some(0));
    let (code, nothing) = scene.step("check", &[]);
    assert_eq!(
        (code, &nothing["verdict"]),
        (Some(1), &"failed".into()),
        "{nothing}"
    );
    assert_eq!(state_of(&nothing, "reencrypted"), "fail");
    assert_eq!(state_of(&nothing, "sessions"), "pass");
    let (code, refused) = scene.step("finish", &["--window", "0s"]);
    assert_eq!(
        (code, state_of(&refused, "checked")),
        (Some(1), "fail"),
        "{refused}"
    );

    scene.put_secret("KEY_ENCRYPTION_SECRET", NEW);
    scene.restart();
    let (code, lost) = scene.step("check", &[]);
    assert_eq!(
        (code, &lost["verdict"]),
        (Some(1), &"failed".into()),
        "{lost}"
    );
    assert_eq!(state_of(&lost, "sessions"), "fail");
    assert_eq!(state_of(&lost, "decrypt"), "fail");
    assert!(
        lost["next_steps"]
            .to_string()
            .contains("KEY_ENCRYPTION_SECRET_PREV")
    );

    // The overlap put back mends it.
    scene.put_secret("KEY_ENCRYPTION_SECRET_PREV", &format!("\"{OLD}\""));
    let (code, mended) = scene.step("check", &[]);
    assert_eq!(
        (code, &mended["verdict"]),
        (Some(0), &"passed".into()),
        "{mended}"
    );
    scene.tells_no_secret();
}
