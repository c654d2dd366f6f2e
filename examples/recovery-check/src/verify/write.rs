//! A round trip of a scratch record: created, seen by another device, deleted again.

use std::future::Future;
use std::time::Duration;

use evenkeel_proto::wire::path::{PULL, PUSH};
use evenkeel_proto::wire::{Applied, Cursor, Op, PullPage, PushAnswer, Version};
use serde_json::{Value, json};
use tokio::time::sleep;
use uuid::Uuid;

use crate::probe::{Answer, Probe, Refusal, Request, Way};
use crate::status_line::wall_ms;

/// What was seen, or what was missing. Whatever happens, and whether or not it is stopped: a record that
/// may be there is deleted as far as that can be done.
pub(crate) async fn round_trip(
    probe: &Probe,
    stop: impl Future<Output = ()>,
) -> Result<String, String> {
    let scratch = Scratch {
        probe,
        id: format!("recovery-check-{}", Uuid::new_v4()),
    };
    let mut version = Version(0);
    let went = tokio::select! {
        went = scratch.there(&mut version) => went,
        () = stop => Err("interrupted".to_owned()),
    };
    let gone = scratch.back(version).await;
    match (went, gone) {
        (Ok(seen), Ok(deleted)) => Ok(format!("{seen}, {deleted}")),
        (Err(why), Ok(deleted)) => Err(format!("{why}; {deleted}")),
        (Ok(_), Err(why)) => Err(format!("the record {} was not deleted: {why}", scratch.id)),
        (Err(first), Err(why)) => Err(format!(
            "{first}; the record {} may be left: {why}",
            scratch.id
        )),
    }
}

struct Scratch<'p> {
    probe: &'p Probe,
    id: String,
}

impl Scratch<'_> {
    async fn there(&self, version: &mut Version) -> Result<String, String> {
        let now = wall_ms();
        let operation = json!({
            "requestId": Uuid::new_v4().to_string(),
            "op": "upsert",
            "noteId": self.id,
            "baseVersion": 0,
            "note": {
                "id": self.id, "version": 0, "createdAt": now, "updatedAt": now,
                "content": "A scratch record of recovery-check; it may be deleted.",
            },
        });
        let applied = self
            .push(operation)
            .await
            .map_err(|e| format!("create: {e}"))?;
        *version = applied
            .note
            .as_ref()
            .map_or(Version(1), |note| note.version);
        let other = Probe {
            device: Uuid::new_v4().to_string(),
            ..self.probe.clone()
        };
        self.seen(&other, applied.cursor, &Op::Upsert).await?;
        Ok("created, seen by a second device".to_owned())
    }

    /// Deletes what may be there: after a lost answer it can be, without our knowing its version.
    async fn back(&self, version: Version) -> Result<&'static str, String> {
        let mut base = version.0;
        for _ in 0..2 {
            let answer = self.push_raw(&self.deletion(base)).await?;
            if let Some(applied) = answer.applied.first() {
                self.seen(self.probe, applied.cursor, &Op::Delete).await?;
                return Ok("deleted");
            }
            match answer.conflicts.first() {
                Some(conflict) if conflict.current_version.0 == 0 => return Ok("nothing is left"),
                Some(conflict) => base = conflict.current_version.0,
                None => return Ok("nothing is left"),
            }
        }
        Err("its version does not settle".to_owned())
    }

    fn deletion(&self, base_version: u64) -> Value {
        json!({
            "requestId": Uuid::new_v4().to_string(),
            "op": "delete",
            "noteId": self.id,
            "baseVersion": base_version,
        })
    }

    async fn push(&self, operation: Value) -> Result<Applied, String> {
        let answer = self.push_raw(&operation).await?;
        let applied = answer.applied.into_iter().next();
        applied.ok_or_else(|| match answer.conflicts.is_empty() {
            true => "it is neither applied nor refused".to_owned(),
            false => "it conflicts with a record that cannot be there".to_owned(),
        })
    }

    /// Once more after a failure: the same `requestId` is never applied twice.
    async fn push_raw(&self, operation: &Value) -> Result<PushAnswer, String> {
        let body = json!({ "operations": [operation] }).to_string();
        let request = Request::post(PUSH)
            .json(body)
            .of(self.probe)
            .within(TIME_MAX);
        match self.ask(self.probe, request.clone()).await {
            Ok(answer) => Ok(answer),
            Err(_first) => {
                sleep(PAUSE).await;
                self.ask(self.probe, request).await
            }
        }
    }

    /// Whether the change is in what this device pulls.
    async fn seen(&self, by: &Probe, at: Cursor, op: &Op) -> Result<(), String> {
        let before = at.0.saturating_sub(1);
        for attempt in 0..SEEN_ATTEMPTS {
            if attempt > 0 {
                sleep(PAUSE).await;
            }
            let request = Request::get(format!("{PULL}?cursor={before}"));
            let page: PullPage = self.ask(by, request.of(by).within(TIME_MAX)).await?;
            let ours = page.changes.iter().any(|change| {
                change.op == *op && change.note.as_ref().is_some_and(|note| note.id == self.id)
            });
            if ours {
                return Ok(());
            }
        }
        Err(format!("the {op} is not in what can be pulled"))
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        as_whom: &Probe,
        request: Request,
    ) -> Result<T, String> {
        let Some(edge) = &as_whom.edge else {
            return Err("nobody said where the edge is".to_owned());
        };
        let answer = request
            .send(edge, &as_whom.tls, BYTES_MAX, &mut Way::default())
            .await;
        let answer: Answer = answer.map_err(|trouble| trouble.to_string())?;
        if answer.status >= 300 {
            return Err(match Refusal::read(&answer) {
                Ok(refusal) => format!("answered {refusal}"),
                Err(trouble) => trouble.message,
            });
        }
        let value = answer.json().map_err(|trouble| trouble.message)?;
        serde_json::from_value(value).map_err(|_| "the answer cannot be read".to_owned())
    }
}

/// The edge's own timeout, twice, and its pause.
const TIME_MAX: Duration = Duration::from_secs(16);
const PAUSE: Duration = Duration::from_millis(500);
const SEEN_ATTEMPTS: u32 = 5;
const BYTES_MAX: usize = 4 << 20;
