//! The control API: faults over HTTP, for whoever is not in this process.
//!
//! `GET /faults`, `PUT` or `POST /faults/{name}` with a JSON value, `DELETE /faults/{name}`,
//! `POST /reset`, and `GET /requests` for the log of requests.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use serde_json::{Map, Value, json};

use crate::answer::{self, Refusal};
use crate::faults::{self, FaultError, FaultSet, Faults};
use crate::requests::Requests;

#[derive(Clone)]
struct Control {
    faults: Faults,
    requests: Requests,
}

pub(crate) fn router(faults: Faults, requests: Requests) -> Router {
    let set = put(set).post(set).delete(clear);
    Router::new()
        .route("/faults", get(list))
        .route("/faults/{name}", set)
        .route("/reset", post(reset))
        .route("/requests", get(log))
        .fallback(async || Refusal::not_found())
        .method_not_allowed_fallback(async || Refusal::not_found())
        .with_state(Control { faults, requests })
}

/// The faults that are on, and all there are.
async fn list(State(control): State<Control>) -> Response {
    answer::json(StatusCode::OK, &shown(&control.faults))
}

async fn set(
    State(control): State<Control>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Response, Refusal> {
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|_| Refusal::too_large(BODY_BYTES_MAX as u64))?;
    let value: Value = serde_json::from_slice(&body.to_bytes())
        .map_err(|error| Refusal::bad_request(format!("not JSON: {error}")))?;
    control.faults.set(&name, value).map_err(refused)?;
    // What is done once is waited for, as far as this process is the one that does it.
    let settling = control.faults.until(|set| !FaultSet::pending(set));
    let _ = tokio::time::timeout(SETTLE_MAX, settling).await;
    Ok(list(State(control)).await)
}

async fn clear(
    State(control): State<Control>,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    control.faults.clear(&name).map_err(refused)?;
    Ok(list(State(control)).await)
}

async fn reset(State(control): State<Control>) -> Response {
    control.faults.reset();
    list(State(control)).await
}

async fn log(State(control): State<Control>) -> Response {
    let body = json!({
        "now_ms": control.requests.now_ms(),
        "requests": control.requests.all(),
    });
    answer::json(StatusCode::OK, &body).into_response()
}

fn shown(faults: &Faults) -> Value {
    let mut active = Map::new();
    for (name, value) in faults::active(&faults.now()) {
        let for_ms = faults.active_for(&name).unwrap_or_default().as_millis() as u64;
        active.insert(name, json!({ "value": value, "active_for_ms": for_ms }));
    }
    json!({ "active": active, "faults": FaultSet::all() })
}

fn refused(error: FaultError) -> Refusal {
    match error {
        FaultError::Unknown(_) => Refusal::not_found(),
        _ => Refusal::bad_request(error.to_string()),
    }
}

const BODY_BYTES_MAX: usize = 64 * 1024;
const SETTLE_MAX: Duration = Duration::from_secs(2);
