//! The control API: faults over HTTP, for whoever is not in this process.
//!
//! `GET /faults`, `PUT` or `POST /faults/{name}` with a JSON value, `DELETE /faults/{name}`,
//! `POST /reset`, and `GET /requests` for the log of requests.
//!
//! Where the edge is in this process, also what its operator does: `GET /secrets`, `PUT` or
//! `POST /secrets/{name}` with a JSON string, `DELETE /secrets/{name}`, and `POST /edge/restart`. The
//! names are those of a deployment, `KEY_ENCRYPTION_SECRET` and `KEY_ENCRYPTION_SECRET_PREV`; a secret
//! cannot be read back.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use bytes::Bytes;
use evenkeel_proto::wire::Secret;
use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use serde_json::{Map, Value, json};

use crate::answer::{self, Refusal};
use crate::edge::Deployment;
use crate::faults::{self, FaultError, FaultSet, Faults};
use crate::requests::Requests;
use crate::secrets::SecretName;

#[derive(Clone)]
struct Control {
    faults: Faults,
    requests: Requests,
    edge: Option<Arc<Deployment>>,
}

pub(crate) fn router(faults: Faults, requests: Requests, edge: Option<Arc<Deployment>>) -> Router {
    let set = put(set).post(set).delete(clear);
    let secret = put(set_secret).post(set_secret).delete(delete_secret);
    Router::new()
        .route("/faults", get(list))
        .route("/faults/{name}", set)
        .route("/reset", post(reset))
        .route("/requests", get(log))
        .route("/secrets", get(secrets))
        .route("/secrets/{name}", secret)
        .route("/edge/restart", post(restart))
        .fallback(async || Refusal::not_found())
        .method_not_allowed_fallback(async || Refusal::not_found())
        .with_state(Control {
            faults,
            requests,
            edge,
        })
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
    let value: Value = serde_json::from_slice(&whole(body).await?)
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

/// What may be told of the secrets.
async fn secrets(State(control): State<Control>) -> Result<Response, Refusal> {
    let secrets = &control.edge()?.standing().secrets;
    let states = SecretName::ALL.map(|name| (name.as_str(), json!(secrets.state(name))));
    let states: Map<String, Value> = states.into_iter().map(|(n, s)| (n.to_owned(), s)).collect();
    Ok(answer::json(StatusCode::OK, &states))
}

async fn set_secret(
    State(control): State<Control>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Response, Refusal> {
    // What serde says of it could hold a piece of the secret.
    let secret: Secret = serde_json::from_slice(&whole(body).await?)
        .map_err(|_| Refusal::bad_request("a JSON string is needed"))?;
    control.put_secret(&name, Some(secret))?;
    self::secrets(State(control)).await
}

async fn delete_secret(
    State(control): State<Control>,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    control.put_secret(&name, None)?;
    self::secrets(State(control)).await
}

/// As a deploy does: its counters begin at zero.
async fn restart(State(control): State<Control>) -> Result<Response, Refusal> {
    control.edge()?.restart();
    Ok(answer::json(StatusCode::OK, &json!({ "ok": true })))
}

impl Control {
    fn edge(&self) -> Result<&Deployment, Refusal> {
        self.edge.as_deref().ok_or_else(Refusal::not_found)
    }

    fn put_secret(&self, name: &str, secret: Option<Secret>) -> Result<(), Refusal> {
        let name = SecretName::from_name(name).ok_or_else(Refusal::not_found)?;
        self.edge()?.standing().secrets.set(name, secret);
        Ok(())
    }
}

async fn whole(body: Body) -> Result<Bytes, Refusal> {
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|_| Refusal::too_large(BODY_BYTES_MAX as u64))?;
    Ok(body.to_bytes())
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
