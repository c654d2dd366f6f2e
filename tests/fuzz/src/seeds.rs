//! Where cases begin: the test vectors, in the form that each target reads.

use std::path::Path;

use serde_json::Value;

use crate::wire;

/// The seeds of a target: what the test vectors hold for it, as bytes.
#[must_use]
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "decoder" => streams(),
        "failure" => answers(0),
        "retry_after" => answers(2),
        "wire" => payloads(),
        "list" => lists(),
        "cookie" => cookies(),
        _ => vec![Vec::new()],
    }
}

/// Found by earlier runs, and mended since.
#[must_use]
pub fn regressions(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("regressions")
        .join(target);
    let Ok(files) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut found: Vec<_> = files
        .map(|file| {
            let path = file.unwrap().path();
            (path.display().to_string(), std::fs::read(path).unwrap())
        })
        .collect();
    found.sort();
    found
}

fn streams() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for vector in vectors("sse.json") {
        // Large limits, then small ones.
        for head in [[255, 1, 255, 3], [40, 0, 20, 5]] {
            let mut seed = head.to_vec();
            for chunk in list_of(&vector["chunks"]) {
                seed.extend_from_slice(chunk.as_str().unwrap().as_bytes());
            }
            for chunk in list_of(&vector["chunks_hex"]) {
                seed.extend(unhex(chunk.as_str().unwrap()));
            }
            seeds.push(seed);
        }
    }
    seeds
}

/// The request's name and the status are left to chance: bytes that name them are not worth a table.
fn answers(head: u8) -> Vec<Vec<u8>> {
    let names = [
        "retry-after",
        "date",
        "content-type",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
    ];
    let mut seeds = Vec::new();
    for vector in vectors("failures.json") {
        let headers = list_of(&vector["headers"]);
        let mut seed = if head == 0 {
            vec![2, 22, 0]
        } else {
            vec![head]
        };
        seed.push(u8::try_from(headers.len()).unwrap());
        for header in headers {
            let name = header[0].as_str().unwrap();
            let at = names
                .iter()
                .position(|known| *known == name)
                .unwrap_or(names.len());
            seed.push(u8::try_from(at).unwrap());
            seed.extend_from_slice(header[1].as_str().unwrap().as_bytes());
            seed.push(b'\n');
        }
        seed.extend_from_slice(vector["body"].as_str().unwrap_or_default().as_bytes());
        seeds.push(seed);
    }
    seeds
}

fn payloads() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for vector in wire_vectors() {
        let Some(kind) = wire::kind(vector["kind"].as_str().unwrap()) else {
            continue;
        };
        let mut seed = vec![kind];
        if let Some(data) = vector["data"].as_str() {
            seed.extend_from_slice(vector["event"].as_str().unwrap().as_bytes());
            seed.push(b'\n');
            seed.extend_from_slice(data.as_bytes());
        } else {
            seed.extend(serde_json::to_vec(&vector["body"]).unwrap());
        }
        seeds.push(seed);
    }
    seeds
}

fn lists() -> Vec<Vec<u8>> {
    let wanted = |vector: &Value| match vector["kind"].as_str() {
        Some("pull_page") => Some(0),
        Some("snapshot") => Some(1),
        _ => None,
    };
    let mut seeds = Vec::new();
    for vector in wire_vectors() {
        if let Some(kind) = wanted(&vector) {
            let mut seed = vec![kind];
            seed.extend(serde_json::to_vec(&vector["body"]).unwrap());
            seeds.push(seed);
        }
    }
    seeds
}

fn cookies() -> Vec<Vec<u8>> {
    let vectors = wire_vectors();
    let headers = vectors
        .iter()
        .filter_map(|vector| vector["header"].as_str());
    headers.map(|header| header.as_bytes().to_vec()).collect()
}

fn vectors(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder().join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn wire_vectors() -> Vec<Value> {
    let files = std::fs::read_dir(folder().join("wire")).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    let read = |path| serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    paths.into_iter().map(read).collect()
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors")
}

fn list_of(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}
