//! Every error of the SDK arrives as one that says the same.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evenkeel::store::{OpenError as StoreOpenError, StoreError};
use evenkeel::{BuildError, Failure};
use evenkeel_ffi::{AiError, Cause, ClientError, DataError, Layer, OpenError, RequestError};

fn text() -> String {
    "why".into()
}

#[test]
fn opening() {
    let path = || PathBuf::from("/a");
    let build = [
        (BuildError::Url { reason: "why" }, "Url"),
        (BuildError::DeviceId, "DeviceId"),
        (
            BuildError::Setting {
                name: "n",
                reason: text(),
            },
            "Setting",
        ),
        (BuildError::Certificate { reason: text() }, "Certificate"),
        (BuildError::Proxy, "Proxy"),
        (BuildError::ProxyElsewhere, "Proxy"),
        (BuildError::Tls { reason: text() }, "Network"),
        (BuildError::Http { reason: text() }, "Network"),
        (
            BuildError::StateCorrupt {
                path: path(),
                reason: text(),
            },
            "StateCorrupt",
        ),
        (
            BuildError::StateUnusable {
                path: path(),
                source: io::Error::other("why"),
            },
            "StateUnusable",
        ),
        // A provider is required by the call's signature.
        (BuildError::TokenProviderMissing, "Internal"),
    ];
    let store = [
        (StoreOpenError::WrongAccount, "WrongAccount"),
        (StoreOpenError::Setting { name: "n" }, "Setting"),
        (StoreOpenError::NotAStore { path: path() }, "NotAStore"),
        (StoreOpenError::Newer { found: 9, known: 4 }, "NewerStore"),
        (StoreOpenError::Corrupt { message: text() }, "StoreCorrupt"),
        (StoreOpenError::Busy, "StoreBusy"),
        (StoreOpenError::Full, "StoreFull"),
        (
            StoreOpenError::Unusable {
                path: path(),
                message: text(),
            },
            "StoreUnusable",
        ),
    ];
    let build = build
        .into_iter()
        .map(|(e, name)| (OpenError::from(e), name));
    let store = store
        .into_iter()
        .map(|(e, name)| (OpenError::from(e), name));
    for (error, name) in build.chain(store) {
        assert_named(&format!("{error:?}"), name);
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn data() {
    let table = [
        (StoreError::OutboxFull { kept: 7 }, "OutboxFull { kept: 7 }"),
        (StoreError::Id, "Id"),
        (StoreError::NotFound, "NotFound"),
        (StoreError::Shape { message: text() }, "Json"),
        (StoreError::Full, "Full"),
        (StoreError::Corrupt { message: text() }, "Corrupt"),
        (StoreError::Closed, "Closed"),
        (StoreError::Suspended, "Suspended"),
        (StoreError::Busy, "Busy"),
        (StoreError::Failed { message: text() }, "Internal"),
    ];
    for (error, name) in table {
        assert_named(&format!("{:?}", DataError::from(error)), name);
    }
}

#[test]
fn requests_ai_and_suspending() {
    let failure = Failure::local(evenkeel::Cause::DeviceRevoked, "why");
    let second = Duration::from_secs(1);
    let RequestError::Failed { failure: told } =
        evenkeel::RequestError::Failed(failure.clone()).into()
    else {
        panic!("another error");
    };
    assert_eq!(
        (told.cause, told.layer),
        (Cause::DeviceRevoked, Layer::Account)
    );
    assert_eq!(told.text, "why");
    let table = [
        (evenkeel::RequestError::Suspended, RequestError::Suspended),
        (
            evenkeel::RequestError::Held { wait: second },
            RequestError::Held { wait_ms: 1_000 },
        ),
    ];
    for (error, expected) in table {
        assert_eq!(RequestError::from(error), expected);
    }
    let no_runtime = RequestError::from(evenkeel::RequestError::NoRuntime);
    assert_named(&format!("{no_runtime:?}"), "Internal");

    let held = evenkeel::AiError::Held {
        wait: second,
        cause: evenkeel::Cause::Provider5xx,
    };
    let expected = AiError::Held {
        wait_ms: 1_000,
        cause: Cause::Provider5xx,
    };
    assert_eq!(AiError::from(held), expected);
    assert_eq!(
        AiError::from(evenkeel::AiError::NotConnected),
        AiError::NotConnected
    );
    let failed = AiError::from(evenkeel::AiError::Failed {
        failure,
        attempts: 3,
    });
    assert!(matches!(failed, AiError::Failed { attempts: 3, .. }));

    let left = vec![evenkeel::Lane::Pull, evenkeel::Lane::Token];
    let unfinished = ClientError::from(evenkeel::SuspendError::Unfinished { left });
    let left = vec!["pull".to_owned(), "token".to_owned()];
    assert_eq!(unfinished, ClientError::Unfinished { left });
}

/// The compiler cannot say it, since these enums may grow: whoever adds a variant decides here, and above, what it
/// is to an app.
#[test]
#[allow(clippy::unwrap_used)]
fn no_variant_of_the_sdks_is_missing_above() {
    let table = [
        (
            "error.rs",
            "BuildError",
            "Url TokenProviderMissing DeviceId Setting Certificate Proxy ProxyElsewhere Tls Http StateCorrupt \
             StateUnusable",
        ),
        ("error.rs", "StartError", "NoRuntime"),
        ("error.rs", "SuspendError", "Unfinished"),
        (
            "error.rs",
            "SyncOnceError",
            "Start Deadline Failed Interrupted",
        ),
        (
            "error.rs",
            "RequestError",
            "NoRuntime Suspended Held Failed",
        ),
        (
            "ai/error.rs",
            "AiError",
            "NoRuntime NotConnected Held Failed",
        ),
        (
            "store/error.rs",
            "OpenError",
            "WrongAccount Setting NotAStore Newer Corrupt Busy Full Unusable",
        ),
        (
            "store/error.rs",
            "StoreError",
            "OutboxFull Id NotFound Shape Full Corrupt Closed Suspended Busy Failed",
        ),
    ];
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/client/src");
    for (file, name, expected) in table {
        let source = fs::read_to_string(sources.join(file)).unwrap();
        let body = source.split(&format!("pub enum {name} {{")).nth(1).unwrap();
        let body = body.split("\n}").next().unwrap();
        // Variants are indented once, and begin with a capital.
        let variants = body.lines().filter_map(|line| line.strip_prefix("    "));
        let variants: Vec<_> = variants
            .filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()))
            .map(|line| line.split([' ', '(', ',']).next().unwrap())
            .collect();
        let expected: Vec<_> = expected.split(' ').collect();
        assert_eq!(variants, expected, "{name}");
    }
}

fn assert_named(shown: &str, name: &str) {
    let word = shown.split([' ', '{']).next();
    assert!(shown == name || word == Some(name), "{shown} is not {name}");
}
