//! Writing from a script: durable first, then the server's verdict for as long as the script waits.

use std::collections::VecDeque;
use std::time::Duration;

use evenkeel::store::{RejectReason, StoreError, Verdict, WriteHandle};
use evenkeel::{Ask, SqliteStore, Status, SyncClient, SyncState};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::cli::{Service, Wait};
use crate::exit::{Code, Failed};
use crate::output::Output;
use crate::session;

/// One run's writes.
pub(crate) struct Writer<'a> {
    pub(crate) store: SqliteStore,
    client: Option<SyncClient>,
    wait: Duration,
    output: &'a Output,
    verdicts: JoinSet<(String, Result<Verdict, StoreError>)>,
    /// In the order of the writes, those without a verdict.
    waiting: VecDeque<String>,
    worst: Code,
}

impl<'a> Writer<'a> {
    /// Finds out what is wrong with the configuration before anything is written.
    pub(crate) async fn open(
        service: &Service,
        wait: Wait,
        output: &'a Output,
    ) -> Result<Self, Failed> {
        let store = session::open(service).await?;
        let client = match wait.offline {
            true => None,
            false => Some(session::connect(service, &store)?),
        };
        if let Some(client) = &client {
            client.start().map_err(|e| Failed::broken(e.to_string()))?;
        }
        Ok(Self {
            store,
            client,
            wait: wait.wait,
            output,
            verdicts: JoinSet::new(),
            waiting: VecDeque::new(),
            worst: Code::Done,
        })
    }

    /// Tells that a write is durable, and listens for what becomes of it.
    pub(crate) fn written(&mut self, id: &str, handle: WriteHandle) -> Result<(), Failed> {
        let event = json!({"event": "written", "id": id});
        self.output
            .say(&format!("{id}  safe on this device"), &event)?;
        if self.client.is_some() {
            let named = id.to_owned();
            self.verdicts.spawn(async move { (named, handle.await) });
            self.waiting.push_back(id.to_owned());
        }
        while let Some(verdict) = self.verdicts.try_join_next() {
            self.tell(verdict)?;
        }
        Ok(())
    }

    /// Waits until some of what waits has been sent, for as long as a verdict is waited for; says
    /// whether it was.
    pub(crate) async fn room(&self) -> bool {
        let Some(client) = &self.client else {
            return false;
        };
        let until = Instant::now() + self.wait;
        let mut statuses = client.status_changes();
        let before = client.status().pending;
        let less = async {
            while let Some(status) = statuses.next().await {
                if status.pending < before || is_hopeless(&status, until) {
                    return status.pending < before;
                }
            }
            false
        };
        timeout_at(until, less).await.unwrap_or(false)
    }

    /// Waits for the verdicts that are still out, and closes everything.
    pub(crate) async fn finish(mut self) -> Result<Code, Failed> {
        let until = Instant::now() + self.wait;
        let mut told = self.listen(until).await;
        if told.is_ok() {
            told = self.look().await;
        }
        let status = self.client.as_ref().map(SyncClient::status);
        session::close(&self.store, self.client.as_ref()).await;
        told?;
        for id in std::mem::take(&mut self.waiting) {
            self.worst = self.worst.max(Code::Waiting);
            let why = status.as_ref().and_then(why);
            let words = why.as_ref().map(|why| format!(": {why}"));
            let words = words.unwrap_or_default();
            self.output.say(
                &format!(
                    "{id}  waiting for the server{words}; the next notes that is online sends it"
                ),
                &json!({"event": "verdict", "id": id, "verdict": "waiting", "why": why}),
            )?;
        }
        Ok(self.worst)
    }

    /// What another process sent has its verdict in the store, and need not have come to our handles.
    async fn look(&mut self) -> Result<(), Failed> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let pending = self.store.pending().await?.operations;
        let conflicts = self.store.conflicts().await?;
        let parked = self.store.rejected().await?;
        for id in self.waiting.clone() {
            let verdict = if pending.iter().any(|write| write.id == id) {
                continue;
            } else if conflicts.iter().any(|conflict| conflict.id == id) {
                Verdict::Conflicted
            } else if let Some(parked) = parked.iter().find(|parked| parked.id == id) {
                let reason = parked.reason.clone();
                Verdict::Rejected { reason }
            } else {
                let record = self.store.get(&id).await?;
                let version = record.map(|record| record.version).unwrap_or_default();
                Verdict::Acknowledged { version }
            };
            self.tell(Ok((id, Ok(verdict))))?;
        }
        Ok(())
    }

    async fn listen(&mut self, until: Instant) -> Result<(), Failed> {
        let Some(client) = self.client.clone() else {
            return Ok(());
        };
        let mut statuses = client.status_changes();
        while !self.verdicts.is_empty() {
            tokio::select! {
                biased;
                Some(verdict) = self.verdicts.join_next() => self.tell(verdict)?,
                Some(status) = statuses.next() => if is_hopeless(&status, until) {
                    return Ok(());
                },
                () = tokio::time::sleep_until(until) => return Ok(()),
            }
        }
        Ok(())
    }

    fn tell(
        &mut self,
        verdict: Result<(String, Result<Verdict, StoreError>), tokio::task::JoinError>,
    ) -> Result<(), Failed> {
        let (id, verdict) = verdict.map_err(|e| Failed::broken(e.to_string()))?;
        self.waiting.retain(|waiting| *waiting != id);
        let (code, words, mut event) = match verdict? {
            Verdict::Acknowledged { version } => (
                Code::Done,
                format!("on the server, version {version}"),
                json!({"verdict": "acknowledged", "version": version}),
            ),
            Verdict::Conflicted => (
                Code::Conflict,
                "in conflict with what the server has: see `notes conflicts`".to_owned(),
                json!({"verdict": "conflict"}),
            ),
            Verdict::Rejected { reason } => (
                Code::Refused,
                format!("refused by the server: {}", reason_words(&reason)),
                json!({"verdict": "rejected", "reason": reason}),
            ),
            _ => (
                Code::Done,
                "settled".to_owned(),
                json!({"verdict": "other"}),
            ),
        };
        self.worst = self.worst.max(code);
        event["event"] = "verdict".into();
        event["id"] = id.as_str().into();
        self.output.say(&format!("{id}  {words}"), &event)?;
        Ok(())
    }
}

/// Why the server refused a write, for people.
pub(crate) fn reason_words(reason: &RejectReason) -> String {
    match reason {
        RejectReason::Refused { message, cause, .. } if message.is_empty() => cause.to_string(),
        RejectReason::Refused { message, .. } => message.clone(),
        _ => "it passed the write over in silence, twice".to_owned(),
    }
}

/// Nothing will happen before `until`, unless somebody does something.
fn is_hopeless(status: &Status, until: Instant) -> bool {
    let left = until.saturating_duration_since(Instant::now());
    match status.ask {
        Ask::SignIn | Ask::DeviceRevoked => true,
        _ if status.state != SyncState::Degraded => false,
        _ => status.next_attempt_in().is_some_and(|wait| wait > left),
    }
}

fn why(status: &Status) -> Option<String> {
    match status.ask {
        Ask::SignIn => Some("the token is refused; give another one".to_owned()),
        Ask::DeviceRevoked => Some("this device was revoked".to_owned()),
        _ => status.cause.map(|cause| cause.to_string()),
    }
}
