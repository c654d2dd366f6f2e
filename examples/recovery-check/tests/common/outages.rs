//! The runbook's lines as faults of the reference service.

/// One fault, or two at once, and what has to be said of it.
#[derive(Clone, Copy, Debug)]
pub struct Outage {
    pub faults: &'static [(&'static str, &'static str)],
    /// The finding that comes first, and those that have to be there as well.
    pub findings: &'static [&'static str],
    pub cause: &'static str,
    /// Words of its first next step.
    pub next: &'static str,
}

const fn one(
    faults: &'static [(&'static str, &'static str)],
    findings: &'static [&'static str],
    cause: &'static str,
    next: &'static str,
) -> Outage {
    Outage {
        faults,
        findings,
        cause,
        next,
    }
}

pub const OUTAGES: [Outage; 21] = [
    one(
        &[("origin_refuses", "true")],
        &["path", "circuit_open"],
        "network_error",
        "reachability",
    ),
    one(
        &[("origin_resets", "true")],
        &["path"],
        "network_error",
        "reachability",
    ),
    one(
        &[("origin_hangs", "true")],
        &["path"],
        "timeout",
        "reachability",
    ),
    one(
        &[("ready_hangs", "true")],
        &["ready_silent"],
        "timeout",
        "Redis first",
    ),
    one(
        &[("edge_path_down", "true")],
        &["path", "circuit_open"],
        "network_error",
        "DNS, TCP, TLS, firewall",
    ),
    one(
        &[("edge_times_out", "true")],
        &["path"],
        "timeout",
        "DNS, TCP, TLS, firewall",
    ),
    one(
        &[("edge_unconfigured", "\"service_unavailable\"")],
        &["origin_unconfigured"],
        "origin_unconfigured",
        "Re-render the server's environment",
    ),
    one(
        &[("edge_unconfigured", "\"config_error\"")],
        &["origin_unconfigured"],
        "origin_unconfigured",
        "Re-render the server's environment",
    ),
    one(
        &[("redis_down", "true")],
        &["redis"],
        "redis",
        "Redis first",
    ),
    one(
        &[("ready_degraded", "true")],
        &["redis"],
        "redis",
        "Redis first",
    ),
    one(
        &[("replay_store_down", "true")],
        &["ticket_store"],
        "stream_ticket",
        "store",
    ),
    one(
        &[("database_down", "\"all\"")],
        &["database", "upstream_5xx"],
        "database",
        "before recycling app instances",
    ),
    one(
        &[("database_down", "\"reads\"")],
        &["upstream_5xx"],
        "upstream_5xx",
        "logs",
    ),
    one(
        &[("origin_errors", "{\"rate\":1.0,\"status\":502}")],
        &["upstream_5xx"],
        "upstream_5xx",
        "logs",
    ),
    one(
        &[("edge_kv_down", "true")],
        &["kv_unavailable"],
        "kv_unavailable",
        "KV",
    ),
    one(
        &[("circuit_forced_open", "true")],
        &["circuit_open"],
        "circuit_open",
        "Fix the root",
    ),
    one(
        &[("edge_refuses", "true")],
        &["edge_unreachable"],
        "network_error",
        "the edge",
    ),
    one(
        &[("cdn_error", "{\"status\":522,\"body\":\"html\"}")],
        &["not_the_service"],
        "not_the_service",
        "CDN",
    ),
    one(
        &[("redis_down", "true"), ("edge_path_down", "true")],
        &["redis", "path"],
        "redis",
        "Redis first",
    ),
    one(
        &[
            ("edge_unconfigured", "\"service_unavailable\""),
            ("redis_down", "true"),
        ],
        &["redis", "origin_unconfigured"],
        "redis",
        "Redis first",
    ),
    one(
        &[
            ("database_down", "\"all\""),
            ("circuit_forced_open", "true"),
        ],
        &["database", "circuit_open"],
        "database",
        "before recycling app instances",
    ),
];
