//! The facade against the reference service, as an app would use it.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel_ffi::{
    AiError, AiState, Ask, Cause, ClientError, DataError, EvenkeelClient, EvenkeelConfig,
    ImportedRecord, Lifecycle, ListQuery, ListenerError, OpenError, RequestError, SignOut,
    StatusListener, SyncOnceError, SyncState, SyncStatus, TokenProvider, TokenProviderError,
    TokenReason, Verdict,
};
use evenkeel_stack::Stack;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

const BOUND: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Provider {
    asked: AtomicU32,
    trouble: Mutex<Option<TokenProviderError>>,
}

#[async_trait::async_trait]
impl TokenProvider for Provider {
    async fn token(&self, _: TokenReason) -> Result<String, TokenProviderError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match self.trouble.lock().unwrap().clone() {
            Some(trouble) => Err(trouble),
            None => Ok("demo-token".into()),
        }
    }
}

fn config(url: &str, dir: &TempDir, name: &str) -> EvenkeelConfig {
    EvenkeelConfig {
        url: url.into(),
        account_id: "demo".into(),
        store_path: dir.path().join(name).to_str().unwrap().into(),
        state_dir: None,
        device_id: None,
        durable: false,
        extra_root_certificates: None,
        proxy: Some("none".into()),
        requests_per_minute: Some(180),
        outbox_soft_max: None,
        outbox_hard_max: None,
        store_bytes_max: None,
        connect_timeout_ms: None,
        token_timeout_ms: None,
        ai_timeout_ms: None,
        poll_every_ms: None,
        user_agent: None,
        seed: None,
    }
}

async fn opened(url: &str, dir: &TempDir, name: &str) -> Arc<EvenkeelClient> {
    let provider = Arc::new(Provider::default());
    EvenkeelClient::open(config(url, dir, name), provider)
        .await
        .unwrap()
}

async fn reach(client: &EvenkeelClient, there: impl Fn(&SyncStatus) -> bool) -> SyncStatus {
    let mut after = None;
    let found = timeout(BOUND, async {
        loop {
            let status = client.next_status(after, None).await.unwrap().unwrap();
            if there(&status) {
                return status;
            }
            after = Some(status.version);
        }
    });
    found
        .await
        .unwrap_or_else(|_| panic!("{:?}", client.status()))
}

fn fields(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

fn synced(status: &SyncStatus) -> bool {
    status.state == SyncState::Synced
}

fn query(limit: u32, after: Option<String>) -> ListQuery {
    ListQuery {
        order: None,
        limit,
        after,
    }
}

#[tokio::test]
async fn writes_of_one_device_reach_the_other() {
    let stack = Stack::builder().start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (desk, phone) = (
        opened(stack.edge_url(), &dir, "desk").await,
        opened(stack.edge_url(), &dir, "phone").await,
    );
    desk.start().unwrap();
    phone.start().unwrap();
    reach(&phone, synced).await;
    let changes = phone.changes().unwrap();
    let seen = phone.observe("n1".into()).unwrap();
    assert_eq!(seen.next().await.unwrap().unwrap().record, None);

    let written = desk.put("n1".into(), r#"{"content":"Grüße 👋"}"#.into());
    let verdict = timeout(BOUND, written.await.unwrap().verdict(None))
        .await
        .unwrap();
    let Ok(Verdict::Acknowledged { version }) = verdict else {
        panic!("{verdict:?}");
    };
    let change = timeout(BOUND, changes.next()).await.unwrap().unwrap();
    assert!(format!("{change:?}").contains("n1"), "{change:?}");
    let look = timeout(BOUND, seen.next()).await.unwrap().unwrap().unwrap();
    let record = look.record.unwrap();
    assert_eq!(record.version, version);
    assert_eq!(fields(&record.json)["content"], "Grüße 👋");

    // Fields that the app does not know stay.
    desk.patch("n1".into(), r#"{"color":"red","due":1}"#.into())
        .await
        .unwrap();
    let known = vec!["content".into(), "due".into()];
    let put = desk.put_known("n1".into(), r#"{"content":"b"}"#.into(), known);
    put.await.unwrap();
    let record = desk.get("n1".into()).await.unwrap().unwrap();
    let fields = fields(&record.json);
    assert_eq!(
        (&fields["content"], &fields["color"]),
        (&json!("b"), &json!("red"))
    );
    assert!(fields.get("due").is_none(), "{fields}");
    changes.cancel();
    seen.cancel();
    assert_eq!(changes.next().await, None);
    assert_eq!(seen.next().await, Ok(None));
    desk.shut_down().await;
    phone.shut_down().await;
    stack.stop().await;
}

#[tokio::test]
async fn offline_edits_wait_with_a_cause_and_a_countdown() {
    let stack = Stack::builder().start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let client = opened(stack.edge_url(), &dir, "a").await;
    client.start().unwrap();
    reach(&client, synced).await;
    stack
        .faults()
        .update(|faults| faults.circuit_forced_open = true);
    let write = client
        .put("n1".into(), r#"{"content":"later"}"#.into())
        .await
        .unwrap();
    let down = reach(&client, |s| {
        s.cause == Some(Cause::CircuitOpen) && s.next_attempt_in_ms.is_some()
    });
    let down = down.await;
    assert_eq!((down.state, down.pending), (SyncState::Degraded, 1));
    let (at, left) = (
        down.next_attempt_at_ms.unwrap(),
        down.next_attempt_in_ms.unwrap(),
    );
    assert!(left > 0 && at > 1_600_000_000_000, "{down:?}");
    assert_eq!(client.pending().await.unwrap().writes[0].id, "n1");
    let hopeless = client.sync_once(50, None).await.unwrap_err();
    assert!(
        matches!(
            &hopeless,
            SyncOnceError::Failed { .. } | SyncOnceError::Deadline { .. }
        ),
        "{hopeless:?}"
    );
    stack.faults().reset();
    client.retry_now().unwrap();
    let verdict = timeout(BOUND, write.verdict(None)).await.unwrap().unwrap();
    assert!(
        matches!(verdict, Verdict::Acknowledged { .. }),
        "{verdict:?}"
    );
    reach(&client, synced).await;
    client.shut_down().await;
    stack.stop().await;
}

#[tokio::test]
async fn a_token_provider_may_fail_and_come_back() {
    let stack = Stack::builder().start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let provider = Arc::new(Provider::default());
    let now = |trouble| *provider.trouble.lock().unwrap() = trouble;
    now(Some(TokenProviderError::Unavailable));
    let config = config(stack.edge_url(), &dir, "a");
    let client = EvenkeelClient::open(config, provider.clone())
        .await
        .unwrap();
    client.start().unwrap();
    reach(&client, |s| s.cause == Some(Cause::TokenUnavailable)).await;
    now(Some(TokenProviderError::SignedOut));
    client.retry_now().unwrap();
    reach(&client, |s| {
        s.cause == Some(Cause::AuthRequired) && s.ask == Ask::SignIn
    })
    .await;
    let asked = provider.asked.load(Ordering::SeqCst);
    // Only the app's word brings it back, not a token that could be had.
    now(None);
    client.retry_now().unwrap();
    assert_eq!(client.status().unwrap().ask, Ask::SignIn);
    client.token_changed().unwrap();
    reach(&client, synced).await;
    assert_eq!(provider.asked.load(Ordering::SeqCst), asked + 1);
    client.shut_down().await;
    stack.stop().await;
}

/// Fails at first, by an error and by a panic.
#[derive(Default)]
struct Clumsy {
    told: Mutex<Vec<SyncStatus>>,
}

impl StatusListener for Clumsy {
    fn on_status(&self, status: SyncStatus) -> Result<(), ListenerError> {
        let told = {
            let mut told = self.told.lock().unwrap();
            told.push(status);
            told.len()
        };
        match told {
            1 => Err(ListenerError::Failed),
            2 => panic!("app code"),
            _ => Ok(()),
        }
    }
}

#[tokio::test]
async fn a_listener_that_fails_hears_the_next_status() {
    let stack = Stack::builder().start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let client = opened(stack.edge_url(), &dir, "a").await;
    let listener = Arc::new(Clumsy::default());
    let subscription = client.add_status_listener(listener.clone()).unwrap();
    let heard = |there: fn(&[SyncStatus]) -> bool| {
        let listener = Arc::clone(&listener);
        timeout(BOUND, async move {
            while !there(&listener.told.lock().unwrap()) {
                tokio::task::yield_now().await;
            }
        })
    };
    heard(|told| told.len() == 1).await.unwrap();
    client.start().unwrap();
    heard(|told| told.len() > 2 && told.iter().any(synced))
        .await
        .unwrap();
    let diagnostics: Value = fields(&client.diagnostics_json().unwrap());
    assert_eq!(diagnostics["listener_failures"], 2);
    assert!(!diagnostics.to_string().contains("demo-token"));
    subscription.cancel();
    client.shut_down().await;
    {
        let told = listener.told.lock().unwrap();
        assert!(
            told.iter()
                .all(|status| status.lifecycle != Lifecycle::Stopped || status.version < 2)
        );
    }
    stack.stop().await;
}

#[tokio::test]
async fn what_waits_ends_when_it_is_cancelled_or_the_client_closed() {
    let dir = tempfile::tempdir().unwrap();
    let client = opened("http://127.0.0.1:9", &dir, "a").await;
    let cancel = evenkeel_ffi::CancelToken::new();
    let waiting = {
        let (client, cancel) = (Arc::clone(&client), Arc::clone(&cancel));
        tokio::spawn(async move { client.next_status(Some(i64::MAX), Some(cancel)).await })
    };
    let write = client.put("n1".into(), "{}".into()).await.unwrap();
    cancel.cancel();
    assert_eq!(timeout(BOUND, waiting).await.unwrap().unwrap(), Ok(None));
    assert_eq!(
        write.verdict(Some(Arc::clone(&cancel))).await,
        Err(DataError::Cancelled)
    );
    let once = client.sync_once(60_000, Some(cancel)).await;
    assert_eq!(once, Err(SyncOnceError::Cancelled));

    let changes = client.changes().unwrap();
    let next = tokio::spawn(async move { changes.next().await });
    let verdict = tokio::spawn(async move { write.verdict(None).await });
    let status = {
        let client = Arc::clone(&client);
        tokio::spawn(async move { client.next_status(Some(i64::MAX), None).await })
    };
    timeout(BOUND, client.shut_down()).await.unwrap();
    assert_eq!(timeout(BOUND, next).await.unwrap().unwrap(), None);
    assert_eq!(
        timeout(BOUND, verdict).await.unwrap().unwrap(),
        Err(DataError::Closed)
    );
    assert_eq!(timeout(BOUND, status).await.unwrap().unwrap(), Ok(None));

    // Everything says so afterwards, and nothing hangs.
    client.shut_down().await;
    assert_eq!(client.start(), Err(ClientError::Closed));
    assert_eq!(client.status(), Err(ClientError::Closed));
    assert_eq!(client.suspend(10).await, Err(ClientError::Closed));
    assert_eq!(client.get("n1".into()).await, Err(DataError::Closed));
    assert_eq!(client.sync_once(10, None).await, Err(SyncOnceError::Closed));
    assert_eq!(client.devices(None).await, Err(RequestError::Closed));
    assert!(matches!(client.ai(), Err(AiError::Closed)));
    assert_eq!(client.device_id().len(), 36);
}

#[tokio::test]
async fn bad_input_is_a_typed_error() {
    let dir = tempfile::tempdir().unwrap();
    let provider = || Arc::new(Provider::default());
    let open = |config| EvenkeelClient::open(config, provider());
    let wrong = open(config("ftp://x", &dir, "a")).await.unwrap_err();
    assert!(matches!(wrong, OpenError::Url { .. }), "{wrong:?}");
    let client = opened("http://127.0.0.1:9", &dir, "a").await;
    let other = EvenkeelConfig {
        account_id: "other".into(),
        ..config("http://127.0.0.1:9", &dir, "a")
    };
    assert_eq!(open(other).await.unwrap_err(), OpenError::WrongAccount);
    for json in ["", "[]", "{", "3", "null"] {
        let put = client.put("n1".into(), json.into()).await;
        assert!(
            matches!(put, Err(DataError::Json { .. })),
            "{json}: {put:?}"
        );
    }
    assert_eq!(
        client.put(String::new(), "{}".into()).await.unwrap_err(),
        DataError::Id
    );
    let list = client.list(query(10, Some("nonsense".into()))).await;
    assert!(matches!(list, Err(DataError::Json { .. })), "{list:?}");
    assert_eq!(client.discard("n9".into()).await, Err(DataError::NotFound));
    client.suspend(-5).await.unwrap();
    client.shut_down().await;
}

#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let dir = tempfile::tempdir().unwrap();
    let client = opened("http://127.0.0.1:9", &dir, "a").await;
    let records = (0..10_000).map(|n| ImportedRecord {
        id: format!("r{n:05}"),
        created_at_ms: 1_700_000_000_000 + n,
        updated_at_ms: 1_700_000_000_000 + n,
        json: format!(r#"{{"n":{n}}}"#),
    });
    client.bootstrap(records.collect()).await.unwrap();
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = client.list(query(1_000, after)).await.unwrap();
        all.extend(page.items.into_iter().map(|record| record.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let expected: Vec<_> = (0..10_000).rev().map(|n| format!("r{n:05}")).collect();
    assert_eq!(all, expected);
    client.sign_out(SignOut::Wipe).await.unwrap();
    assert_eq!(client.get("r00001".into()).await, Err(DataError::Closed));
    let again = opened("http://127.0.0.1:9", &dir, "a").await;
    assert!(again.list(query(10, None)).await.unwrap().items.is_empty());
    again.shut_down().await;
}

#[tokio::test]
async fn ai_connects_works_and_ends_with_the_client() {
    let stack = Stack::builder().start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let client = opened(stack.edge_url(), &dir, "a").await;
    let ai = client.ai().unwrap();
    assert_eq!(
        ai.analyze("x".into(), None).await,
        Err(AiError::NotConnected)
    );
    let session = ai
        .connect("gemini".into(), "key-of-a-user".into(), None)
        .await
        .unwrap();
    assert_eq!(session.provider.as_deref(), Some("gemini"));
    assert_eq!(ai.status().unwrap().state, AiState::Available);
    let analysis = ai.analyze("Buy milk tomorrow".into(), None).await.unwrap();
    assert!(!analysis.title.is_empty());
    let statuses = ai.statuses().unwrap();
    assert_eq!(statuses.next().await.unwrap().state, AiState::Available);
    client.shut_down().await;
    assert_eq!(statuses.next().await, None);
    assert_eq!(ai.session(None).await, Err(AiError::Closed));
    stack.stop().await;
}
