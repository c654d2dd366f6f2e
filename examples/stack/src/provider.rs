//! A stand-in for an AI provider: completions in OpenAI's form, the same answer to the same question.
//!
//! It does by rule what a model does by guess, so that a scenario can tell a right answer from a wrong
//! one. It takes every key, and answers only in the way that its faults let it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use evenkeel_proto::wire::{
    AiBrief, AiContent, AiContents, AiFound, AiNotes, AiQuery, AiRecording, AiTranscript, Analysis,
};
use futures_util::stream;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer;
use crate::caller::bearer;
use crate::clock::Clock;
use crate::faults::{Faults, Garbage, Share};
use crate::net::Connection;
use crate::requests::{Part, Requests};

/// Where completions are asked for.
pub(crate) const COMPLETIONS: &str = "/v1/chat/completions";

#[derive(Debug)]
struct Provider {
    faults: Faults,
    requests: Requests,
    clock: Clock,
    error_share: Share,
}

/// As much of a request as is looked at.
#[derive(Deserialize)]
struct Asked {
    model: String,
    messages: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: String,
}

pub(crate) fn router(faults: Faults, requests: Requests) -> Router {
    let provider = Arc::new(Provider {
        clock: Clock::new(faults.clone()),
        faults,
        requests,
        error_share: Share::default(),
    });
    let unknown = async || refused(StatusCode::NOT_FOUND, "unknown_url", "no such URL");
    Router::new()
        .route(COMPLETIONS, post(complete))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .layer(middleware::from_fn_with_state(
            Arc::clone(&provider),
            arrive,
        ))
        .with_state(provider)
}

/// Everything that happens around every request.
async fn arrive(
    State(provider): State<Arc<Provider>>,
    Extension(connection): Extension<Connection>,
    request: Request,
    next: Next,
) -> Response {
    let arrival = provider.requests.arrived(Part::Provider, &request);
    let mut response = match provider.misbehave(&connection).await {
        Some(response) => response,
        None => next.run(request).await,
    };
    answer::finish(&mut response, &provider.faults, &provider.clock);
    provider.requests.answered(&arrival, &response);
    response
}

impl Provider {
    async fn misbehave(&self, connection: &Connection) -> Option<Response> {
        let faults = self.faults.now();
        if faults.provider_hangs {
            self.faults.until(|f| !f.provider_hangs).await;
        }
        tokio::time::sleep(Duration::from_millis(faults.provider_latency_ms)).await;
        if faults.provider_resets {
            connection.reset();
            std::future::pending::<()>().await;
        }
        if let Some(errors) = &faults.provider_errors
            && self.error_share.due(errors.rate)
        {
            let status = StatusCode::from_u16(errors.status).ok()?;
            let response = refused(status, "server_error", "the model is overloaded");
            return Some(with_retry_after(response, errors.retry_after_s));
        }
        if let Some(limited) = &faults.provider_rate_limited {
            let status = StatusCode::TOO_MANY_REQUESTS;
            let response = refused(status, "rate_limit_exceeded", "too many requests");
            return Some(with_retry_after(response, Some(limited.retry_after_s)));
        }
        faults.provider_garbage.map(garbage)
    }
}

async fn complete(
    State(provider): State<Arc<Provider>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let known = bearer(&headers).is_some() && !provider.faults.now().provider_refuses_keys;
    if !known {
        let status = StatusCode::UNAUTHORIZED;
        return refused(status, "invalid_api_key", "incorrect API key provided");
    }
    let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        return refused(status, "invalid_request_error", "the body is too large");
    };
    let asked = serde_json::from_slice::<Asked>(&body.to_bytes()).ok();
    let said = asked.as_ref().and_then(|asked| {
        let of = |role: &str| asked.messages.iter().rfind(|m| m.role == role);
        let task = of("system")?.content.lines().next()?;
        reply(task.strip_prefix("Task: ")?, &of("user")?.content)
    });
    match (asked, said) {
        (Some(asked), Some(said)) => completion(&asked.model, &said),
        _ => refused(
            StatusCode::BAD_REQUEST,
            "invalid_request_error",
            "a task and its words are needed",
        ),
    }
}

/// What a model would say.
fn reply(task: &str, words: &str) -> Option<String> {
    let said = match task {
        "analyze" => json!(analysis(&read::<AiContent>(words)?.content)),
        "batch" => {
            let contents = read::<AiContents>(words)?.contents;
            let items: Vec<Analysis> = contents.iter().map(|text| analysis(text)).collect();
            json!({ "items": items })
        }
        "cleanup" => json!(AiContent {
            content: tidied(&read::<AiContent>(words)?.content),
        }),
        "search" => json!(found(&read(words)?)),
        "daily-brief" => json!(brief(&read(words)?)),
        "transcribe" => {
            let recording: AiRecording = read(words)?;
            let (length, kind) = (recording.audio.len(), recording.mime_type);
            json!(AiTranscript {
                text: format!("{length} characters of {kind}"),
            })
        }
        _ => return None,
    };
    Some(said.to_string())
}

fn read<T: serde::de::DeserializeOwned>(words: &str) -> Option<T> {
    serde_json::from_str(words).ok()
}

fn analysis(text: &str) -> Analysis {
    let lower = text.to_lowercase();
    let kind = match &lower {
        text if text.contains("todo") => "TASK",
        text if text.contains("idea") => "IDEA",
        _ => "NOTE",
    };
    let tags = lower.split_whitespace();
    let tags = tags.filter_map(|word| word.strip_prefix('#'));
    Analysis {
        title: first_line(text),
        tags: tags.map(str::to_owned).collect(),
        kind: Some(kind.to_owned()),
        due_date: None,
        priority: lower.contains("urgent").then(|| "urgent".to_owned()),
    }
}

fn first_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    line.unwrap_or("untitled")
        .chars()
        .take(TITLE_CHARS_MAX)
        .collect()
}

fn tidied(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.join(" ")
    });
    let lines: Vec<String> = lines.filter(|line| !line.is_empty()).collect();
    lines.join("\n")
}

fn found(asked: &AiQuery) -> AiFound {
    let query = asked.query.to_lowercase();
    let fits = |text: &str| {
        let text = text.to_lowercase();
        query.split_whitespace().any(|word| text.contains(word))
    };
    let notes = asked.notes.iter().filter(|note| fits(&note.content));
    AiFound {
        ids: notes.map(|note| note.id.clone()).collect(),
    }
}

fn brief(asked: &AiNotes) -> AiBrief {
    let lines = asked.notes.iter().map(|note| first_line(&note.content));
    let lines: Vec<String> = lines.collect();
    AiBrief {
        summary: format!("{} notes: {}", lines.len(), lines.join("; ")),
    }
}

fn completion(model: &str, said: &str) -> Response {
    let body = json!({
        "id": "chatcmpl-reference",
        "object": "chat.completion",
        "created": Clock::true_ms() / 1_000,
        "model": model,
        "choices": [{
            "index": 0,
            "message": { "role": "assistant", "content": said },
            "finish_reason": "stop",
        }],
    });
    answer::json(StatusCode::OK, &body)
}

fn garbage(kind: Garbage) -> Response {
    let html = "text/html; charset=utf-8";
    match kind {
        Garbage::Html => answer::with_type(StatusCode::OK, html, "<html>Please sign in</html>"),
        Garbage::Prose => completion("reference-1", "Certainly! Here is what I think."),
        Garbage::Shape => answer::json(StatusCode::OK, &json!({ "candidates": [Value::Null] })),
        Garbage::Endless => {
            let chunk = Ok::<_, std::convert::Infallible>(Bytes::from_static(&[b' '; 8_192]));
            let endless = stream::repeat_with(move || chunk.clone());
            answer::with_type(
                StatusCode::OK,
                "application/json",
                Body::from_stream(endless),
            )
        }
    }
}

fn with_retry_after(mut response: Response, seconds: Option<u64>) -> Response {
    if let Some(seconds) = seconds {
        let seconds = HeaderValue::from(seconds);
        response.headers_mut().insert(RETRY_AFTER, seconds);
    }
    response
}

fn refused(status: StatusCode, kind: &str, message: &str) -> Response {
    let body = json!({ "error": { "message": message, "type": kind } });
    answer::json(status, &body).into_response()
}

const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
const TITLE_CHARS_MAX: usize = 60;
