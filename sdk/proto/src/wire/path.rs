//! Where things are asked for, and the headers that belong to the contract.

/// A ticket (POST).
pub const TICKET: &str = "/api/v2/events/ticket";
/// The event stream (GET); the only path that a ticket may be sent to.
pub const EVENTS: &str = "/api/v2/events";
/// A page of changes (GET, `cursor`).
pub const PULL: &str = "/api/v2/sync/pull";
/// A batch of operations (POST).
pub const PUSH: &str = "/api/v2/sync/push";
/// The first import (POST).
pub const BOOTSTRAP: &str = "/api/v2/sync/bootstrap";
/// The snapshot (GET, `includeDeleted`).
pub const NOTES: &str = "/api/v2/notes";
/// The devices (GET); `/{id}/revoke` below it (POST).
pub const DEVICES: &str = "/api/v2/devices";
/// Begins an AI session (POST).
pub const AI_CONNECT: &str = "/api/v1/auth/connect";
/// The AI session (GET).
pub const AI_STATUS: &str = "/api/v1/auth/status";
/// Ends the AI session (POST).
pub const AI_DISCONNECT: &str = "/api/v1/auth/disconnect";
/// The edge's counters (GET, loopback only).
pub const EDGE_METRICS: &str = "/api/v1/metrics";
/// The origin's state (GET, direct only).
pub const READY: &str = "/ready";
/// Whether the origin's process lives (GET, direct only).
pub const HEALTH: &str = "/health";
/// The origin's counters for Prometheus (GET, direct only).
pub const ORIGIN_METRICS: &str = "/metrics";

/// The ticket's query parameter, where the deployment uses that carrier.
pub const TICKET_PARAMETER: &str = "ticket";

/// Names the device; must be a UUID.
pub const DEVICE_ID_HEADER: &str = "x-device-id";
/// Names the request in the service's logs.
pub const REQUEST_ID_HEADER: &str = "x-request-id";
