//! What the provider is asked for each task, and what is made of its words.

use bytes::Bytes;
use evenkeel_proto::wire::{
    AiAnswer, AiBrief, AiContent, AiContents, AiFound, AiNotes, AiQuery, AiRecording, AiTask,
    AiTranscript, Analysis,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::answer::Refusal;

/// A task that has been read.
pub(super) struct Asked {
    task: AiTask,
    /// What the user sent, as the provider gets it.
    words: String,
    /// How many results a batch must have.
    count: usize,
}

/// What a provider makes of a batch: it can only answer with an object.
#[derive(Deserialize)]
struct Items {
    items: Vec<Analysis>,
}

impl Asked {
    pub(super) fn read(task: AiTask, body: &[u8]) -> Result<Self, Refusal> {
        let mut count = 1;
        let words = match task {
            AiTask::Batch => {
                let batch: AiContents = parsed(body)?;
                count = batch.contents.len();
                if !(1..=BATCH_MAX).contains(&count) {
                    let most = format!("a batch has 1 to {BATCH_MAX} texts");
                    return Err(Refusal::bad_request(most));
                }
                written(&batch)
            }
            AiTask::Search => written(&parsed::<AiQuery>(body)?),
            AiTask::DailyBrief => written(&parsed::<AiNotes>(body)?),
            AiTask::Transcribe => written(&parsed::<AiRecording>(body)?),
            _ => written(&parsed::<AiContent>(body)?),
        };
        Ok(Self { task, words, count })
    }

    /// The body of the request to the provider.
    pub(super) fn prompt(&self) -> Bytes {
        let form = match self.task {
            AiTask::Batch => r#"{"items":[{"title","tags","type","dueDate"?,"priority"?}]}"#,
            AiTask::Cleanup => r#"{"content"}"#,
            AiTask::Search => r#"{"ids":[]}"#,
            AiTask::DailyBrief => r#"{"summary"}"#,
            AiTask::Transcribe => r#"{"text"}"#,
            _ => r#"{"title","tags","type","dueDate"?,"priority"?}"#,
        };
        let task = self.task.as_str();
        let body = json!({
            "model": MODEL,
            "temperature": 0,
            "response_format": { "type": "json_object" },
            "messages": [
                { "role": "system", "content": format!("Task: {task}\nAnswer with JSON: {form}") },
                { "role": "user", "content": self.words },
            ],
        });
        Bytes::from(body.to_string())
    }

    /// The provider's words as the contract's answer; `None` where they are not what was asked for.
    pub(super) fn answer(&self, words: &str) -> Option<Value> {
        match self.task {
            AiTask::Batch => {
                let items = serde_json::from_str::<Items>(words).ok()?.items;
                (items.len() == self.count).then(|| result(items))
            }
            AiTask::Cleanup => shaped::<AiContent>(words),
            AiTask::Search => shaped::<AiFound>(words),
            AiTask::DailyBrief => shaped::<AiBrief>(words),
            AiTask::Transcribe => shaped::<AiTranscript>(words),
            _ => shaped::<Analysis>(words).filter(|answer| answer["result"]["title"] != ""),
        }
    }
}

fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::bad_request(error.to_string()))
}

/// Written again from its type: nothing of the body goes on that the task does not know.
fn written<T: Serialize>(body: &T) -> String {
    json!(body).to_string()
}

fn shaped<T: DeserializeOwned + Serialize>(words: &str) -> Option<Value> {
    serde_json::from_str::<T>(words).ok().map(result)
}

fn result<T: Serialize>(result: T) -> Value {
    json!(AiAnswer { result })
}

const MODEL: &str = "reference-1";
const BATCH_MAX: usize = 100;
