//! What the lints cannot say here.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

/// uniffi's macros need unsafe code; nothing that is written here does.
#[test]
fn no_unsafe_code_is_written_here() {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let code = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            let found: Vec<_> = code.filter(|line| line.contains("unsafe")).collect();
            assert!(found.is_empty(), "{}: {found:?}", path.display());
            files += 1;
        }
    }
    assert!(files > 12, "{files}");
}
