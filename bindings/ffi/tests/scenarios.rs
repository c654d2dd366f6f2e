//! `bindings/scenarios.md` is what every language shows: no more under an id, and no less.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn bindings() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What stands between the two, in every file of scenarios there.
fn named(folder: &str, before: &str, after: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(bindings().join(folder)).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_stem().unwrap().to_str().unwrap();
        if file.ends_with("Scenarios") {
            let text = fs::read_to_string(&path).unwrap();
            let names = text.split(before).skip(1);
            let names = names.map(|rest| rest.split(after).next().unwrap().trim_matches('`'));
            // A sentence is a test of the language's own.
            found.extend(names.filter(|name| !name.contains(' ')).map(str::to_owned));
        }
    }
    found
}

#[test]
fn every_scenario_is_a_test_in_every_language() {
    let table = fs::read_to_string(bindings().join("scenarios.md")).unwrap();
    let ids = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let ids: BTreeSet<_> = ids
        .map(|rest| rest.split('`').next().unwrap().to_owned())
        .collect();
    assert!(ids.len() >= 16, "{ids:?}");
    let swift = named("swift/Tests/EvenkeelTests", "@Test(\"", "\")");
    assert_eq!(swift, ids, "Swift");
    let kotlin = named(
        "kotlin/src/test/kotlin/dev/evenkeel",
        "@Test\n    fun ",
        "()",
    );
    assert_eq!(kotlin, ids, "Kotlin");
}
