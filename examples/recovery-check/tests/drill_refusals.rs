//! What `drill rotation` refuses, and what it says it cannot tell.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::process::Output;

use common::elsewhere::without_metrics;
use common::rotation::{KEY, Scene, evidence, state_of};
use common::{command, exchange, get, run, stack, stderr, url};
use serde_json::Value;

#[test]
fn reserves_that_are_used_up_are_said_to_be() {
    let scene = Scene::new(&[]);
    assert_eq!(scene.step("begin", &[]).0, Some(0));
    scene.change_secret();
    let elsewhere = without_metrics(scene.edge());
    let whole = fs::read_to_string(scene.file()).unwrap();
    fs::write(scene.file(), whole.replace(scene.edge(), &elsewhere)).unwrap();
    for left in [2, 1, 0] {
        let output = scene.drill_with("check", &scene.file(), &elsewhere, &[]);
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let steps = report["next_steps"].to_string();
        assert_eq!(
            steps.contains("No session is left"),
            left == 0,
            "{left}: {steps}"
        );
    }
    let whole = fs::read_to_string(scene.file()).unwrap();
    fs::write(scene.file(), whole.replace(&elsewhere, scene.edge())).unwrap();
    let (code, late) = scene.step("check", &[]);
    assert_eq!(
        (code, state_of(&late, "reencrypted")),
        (Some(3), "unknown"),
        "{late}"
    );
    let (code, refused) = scene.step("finish", &["--window", "0s"]);
    assert_eq!(
        (code, state_of(&refused, "checked")),
        (Some(3), "unknown"),
        "{refused}"
    );
}

#[test]
fn what_cannot_be_seen_is_never_called_good() {
    let scene = Scene::new(&[]);
    let elsewhere = without_metrics(scene.edge());
    let hidden = |step: &str| {
        let output = scene.drill_with(step, &scene.file(), &elsewhere, &[]);
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let begun = hidden("begin");
    assert_eq!(state_of(&begun, "counters"), "unknown", "{begun}");
    assert!(!scene.file().exists(), "nothing was begun");
    assert_eq!(begun["commands"].as_array().unwrap().len(), 0);

    scene.fault("provider_refuses", "true");
    let (code, away) = scene.step("begin", &[]);
    assert_eq!(
        (code, state_of(&away, "device")),
        (Some(3), "unknown"),
        "{away}"
    );
    assert!(!scene.file().exists());
    let status = get(scene.edge(), "/api/v1/auth/status");
    assert_eq!(status["connected"], false, "it tidied up: {status}");
    scene.fault("provider_refuses", "false");

    scene.restart(); // the provider's circuit
    let (code, begun) = scene.step("begin", &[]);
    assert_eq!(code, Some(0), "{begun}");
    let (code, unseen) = scene.step("finish", &["--window", "0s"]);
    assert_eq!(
        (code, state_of(&unseen, "checked")),
        (Some(3), "unknown"),
        "{unseen}"
    );

    scene.change_secret();
    scene.fault("provider_refuses", "true");
    let (code, away) = scene.step("check", &[]);
    assert_eq!(
        (code, state_of(&away, "sessions")),
        (Some(3), "unknown"),
        "{away}"
    );
    assert_eq!(state_of(&away, "decrypt"), "pass", "{away}");
    scene.fault("provider_refuses", "false");
    scene.restart();
    // The keys moved all the same, and that is not forgotten.
    let (code, back) = scene.step("check", &[]);
    assert_eq!(code, Some(0), "{back}");
    // The same drill, looked at from another machine.
    let whole = fs::read_to_string(scene.file()).unwrap();
    fs::write(scene.file(), whole.replace(scene.edge(), &elsewhere)).unwrap();
    let checked = hidden("check");
    assert_eq!(state_of(&checked, "counters"), "unknown", "{checked}");
}

#[test]
fn a_file_that_is_no_drill_of_this_edge_is_refused_and_kept() {
    let scene = Scene::new(&[]);
    let refused = |output: &Output, words: &str| {
        assert_eq!(output.status.code(), Some(2), "{}", stderr(output));
        assert!(stderr(output).contains(words), "{}", stderr(output));
    };
    refused(&scene.drill("check", &[]), "begin the drill");
    assert_eq!(scene.drill("begin", &[]).status.code(), Some(0));
    refused(&scene.drill("begin", &[]), "--force");
    let (other, urls) = stack(&["--set", "heartbeat_ms=300"]);
    let elsewhere = scene.drill_with("check", &scene.file(), url(&urls, "edge"), &[]);
    refused(&elsewhere, "was begun with");
    drop(other);

    let whole = fs::read_to_string(scene.file()).unwrap();
    for (text, words) in [
        ("", "not a drill's file"),
        ("{}", "not a drill's file"),
        (&whole[..whole.len() / 2], "not a drill's file"),
        (
            &whole.replacen("\"version\": 1", "\"version\": 2", 1),
            "newer recovery-check",
        ),
        (
            &whole.replacen("\"begun_at_ms\": 1", "\"begun_at_ms\": 9", 1),
            "clock",
        ),
    ] {
        fs::write(scene.file(), text).unwrap();
        refused(&scene.drill("check", &[]), words);
        assert_eq!(
            fs::read_to_string(scene.file()).unwrap(),
            text,
            "it was kept"
        );
    }
    fs::write(scene.file(), &whole).unwrap();
    // The account's session is the drill's own: closed, and opened anew.
    let (code, anew) = scene.step("begin", &["--force"]);
    assert_eq!(code, Some(0), "{anew}");
    let account = evidence(&anew, "account");
    assert!(account.starts_with("opened"), "{account}");
    let cut = fs::read_to_string(scene.file()).unwrap();
    fs::write(
        scene.file(),
        cut.replace("\"ready\": true", "\"ready\": false"),
    )
    .unwrap();
    refused(&scene.drill("check", &[]), "was cut off");
    fs::write(scene.file(), cut).unwrap();
    scene.tells_no_secret();
}

#[test]
fn nothing_is_opened_that_could_not_be_written_down() {
    let scene = Scene::new(&[]);
    let nowhere = scene.folder.path().join("none").join("drill.json");
    let output = scene.drill_with("begin", &nowhere, scene.edge(), &[]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let status = get(scene.edge(), "/api/v1/auth/status");
    assert_eq!(status["connected"], false, "{status}");
    let log = get(url(&scene.urls, "control"), "/requests");
    assert!(!log.to_string().contains("auth/connect"), "{log}");
}

#[test]
fn a_key_has_to_come_from_somewhere_safe() {
    let scene = Scene::new(&[]);
    let file = scene.file();
    let path = file.to_str().unwrap();
    let begin = [
        "drill",
        "rotation",
        "begin",
        "--state",
        path,
        "--edge",
        scene.edge(),
    ];
    let none = run(&begin);
    let text = String::from_utf8_lossy(&none.stdout).into_owned();
    assert_eq!(none.status.code(), Some(3), "{text}{}", stderr(&none));
    assert!(text.contains("EVENKEEL_AI_KEY"), "{text}");
    let two = command(&begin)
        .env("EVENKEEL_AI_KEY", "two wordsofakey")
        .output();
    let two = two.unwrap();
    assert_eq!(two.status.code(), Some(2), "{}", stderr(&two));
    assert!(!stderr(&two).contains("wordsofakey"), "{}", stderr(&two));
    let key = scene.folder.path().join("key");
    fs::write(&key, format!("{KEY}\n")).unwrap();
    // Without a token it is a device's drill alone.
    let output = command(&begin)
        .arg("--key-file")
        .arg(&key)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}{}", stderr(&output));
    for words in [
        "Run these yourself",
        "worker:secret:set",
        "left out",
        "rotation check",
    ] {
        assert!(text.contains(words), "{words} is missing in:\n{text}");
    }
    assert!(
        !exchange(scene.edge(), "GET", "/api/v1/auth/status", "").contains("\"connected\":true")
    );
    let piped = command(&begin)
        .args(["--force", "--key-file", "-"])
        .stdin(fs::File::open(&key).unwrap())
        .output()
        .unwrap();
    assert_eq!(piped.status.code(), Some(0), "{}", stderr(&piped));
    assert!(!text.contains(KEY) && !String::from_utf8_lossy(&piped.stdout).contains(KEY));
}
