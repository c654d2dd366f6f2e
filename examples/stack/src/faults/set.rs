//! The faults themselves: one struct that the handle and the control API share.

use serde::{Deserialize, Serialize};

use crate::settings::tidy;

/// One fault, for `--help` and the control API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FaultInfo {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub doc: String,
    /// A value that switches it on.
    pub example: &'static str,
}

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $name:ident: $kind:ty = $example:literal;)+) => {
        /// Everything that can be made to go wrong. The default is that nothing does.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct FaultSet {
            $($(#[doc = $doc])+ pub $name: $kind,)+
        }

        impl FaultSet {
            /// Every fault with what it does and an example of its value.
            #[must_use]
            pub fn all() -> Vec<FaultInfo> {
                vec![$(FaultInfo {
                    name: stringify!($name),
                    doc: tidy(&[$($doc),+]),
                    example: $example,
                },)+]
            }
        }
    };
}

faults! {
    /// The edge's port refuses connections, as if its process were gone; open ones are reset.
    edge_refuses: bool = "true";
    /// Something in front of the edge answers in its place: HTML or nothing, with any 5xx.
    cdn_error: Option<CdnError> = r#"{"status":502,"body":"html"}"#;
    /// The edge does not know its origin.
    edge_unconfigured: Option<Unconfigured> = r#""service_unavailable""#;
    /// The edge's sign-in (Clerk) configuration cannot be used: whoever comes with a token to the paths
    /// that the edge serves itself is refused.
    edge_sign_in: Option<SignIn> = r#""missing""#;
    /// The edge's session storage is down: `kv_unavailable`.
    edge_kv_down: bool = "true";
    /// The edge's session storage can be read and not written.
    edge_kv_read_only: bool = "true";
    /// The edge waits for the origin in vain: every attempt runs into the edge's own timeout.
    edge_times_out: bool = "true";
    /// The edge cannot reach the origin, though others can.
    edge_path_down: bool = "true";
    /// The circuit stays open until this is cleared; then it is closed at once.
    circuit_forced_open: bool = "true";

    /// The AI provider's port refuses connections; open ones are reset.
    provider_refuses: bool = "true";
    /// The AI provider takes requests and answers none of them until this is cleared.
    provider_hangs: bool = "true";
    /// The AI provider resets the connection of each request.
    provider_resets: bool = "true";
    /// The AI provider answers some requests with a 5xx.
    provider_errors: Option<OriginErrors> = r#"{"rate":1.0,"status":503,"retry_after_s":7}"#;
    /// Every answer of the AI provider comes this much later.
    provider_latency_ms: u64 = "300";
    /// The AI provider answers 200 with something else than the contract's.
    provider_garbage: Option<Garbage> = r#""html""#;
    /// The AI provider knows none of the keys.
    provider_refuses_keys: bool = "true";
    /// The AI provider has had too many requests.
    provider_rate_limited: Option<RateLimited> = r#"{"retry_after_s":20}"#;
    /// The edge's circuits towards the AI providers stay open until this is cleared; then they are
    /// closed at once.
    provider_circuit_forced_open: bool = "true";
    /// Every client is over the edge's rate limit for AI.
    ai_rate_limited: Option<RateLimited> = r#"{"retry_after_s":30}"#;

    /// The origin's port refuses connections, as if its process were gone; open ones are reset. The
    /// same port listens again once this is cleared.
    origin_refuses: bool = "true";
    /// The origin takes requests and answers none of them until this is cleared, as a stopped process.
    origin_hangs: bool = "true";
    /// The origin resets the connection of each request.
    origin_resets: bool = "true";
    /// The origin answers some requests with a 5xx.
    origin_errors: Option<OriginErrors> = r#"{"rate":0.5,"status":500}"#;
    /// Every answer of the origin comes this much later.
    origin_latency_ms: u64 = "300";
    /// What `Date` and every time on the wire are off by, in seconds.
    clock_skew_s: i64 = "-36000";
    /// `Retry-After` is written as a date.
    retry_after_as_date: bool = "true";
    /// `/ready` shows Redis as degraded while the origin still calls itself ready.
    ready_degraded: bool = "true";
    /// `/ready` is not answered until this is cleared, and everything else is: a check of a dependency hangs.
    ready_hangs: bool = "true";

    /// Tickets cannot be used up, and only that.
    replay_store_down: bool = "true";
    /// Redis is away: tickets cannot be used up, announcements stay in this process, `/ready` says so.
    redis_down: bool = "true";
    /// The database is away, wholly or for one kind of access.
    database_down: Option<DatabaseFault> = r#""all""#;

    /// Cuts every stream that is open now, once.
    stream_cut: Option<Cut> = r#""reset""#;
    /// Cuts every stream some time after it was opened.
    stream_flaps: Option<Flap> = r#"{"after_ms":100,"how":"clean"}"#;
    /// Streams open with headers and send no byte; open ones fall silent. A stream that has been silent
    /// stays so for ever, as a half-open connection does.
    stream_silent: bool = "true";
    /// The origin uses up the ticket and then holds the answer's headers back until this is cleared.
    stream_headers_never: bool = "true";
    /// No heartbeats.
    stream_no_heartbeats: bool = "true";
    /// Streams send a byte at a time with this pause between.
    stream_drip_ms: Option<u64> = "5";
    /// Each announcement comes twice.
    announcements_duplicated: bool = "true";
    /// Each announcement waits for the next one and comes after it.
    announcements_reordered: bool = "true";
    /// No announcements.
    announcements_missing: bool = "true";

    /// Every client is over its rate limit.
    rate_limited: Option<RateLimited> = r#"{"retry_after_s":54}"#;
    /// Tokens that are refused as expired.
    tokens_expired: Option<Selection> = r#"{"only":["demo-token"]}"#;
    /// Devices that are refused as revoked.
    devices_revoked: Option<Selection> = r#""all""#;

    /// Some pushes take their numbers at once and commit later, so that a lower cursor becomes visible
    /// after a higher one.
    late_commits: Option<LateCommits> = r#"{"delay_ms":300,"every":2}"#;
    /// The snapshot's cursor is read this much after its rows, or with a write of somebody else's in
    /// between.
    snapshot_gap: Option<SnapshotGap> = r#"{"delay_ms":0,"write":true}"#;
    /// So many operations more are left out of both lists and not applied.
    operations_skipped: u64 = "1";
    /// So many pushes more are applied, but their connection is reset instead of an answer. An edge that
    /// repeats the request uses up two.
    push_answers_lost: u64 = "2";
    /// Pushes fail with a 500 once so many of their operations have been applied.
    push_breaks_after: Option<u64> = "1";
    /// Forgets every change up to this cursor, once.
    changes_pruned_through: Option<u64> = "10";
    /// Puts the database back to where it was at this cursor, once.
    database_restored_to: Option<u64> = "10";
}

impl FaultSet {
    /// Whether something that is done once is still to be done.
    pub(crate) fn pending(&self) -> bool {
        self.changes_pruned_through.is_some() || self.database_restored_to.is_some()
    }

    /// Whether the values mean something.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let statuses = [
            self.cdn_error.as_ref().map(|f| f.status),
            self.origin_errors.as_ref().map(|f| f.status),
            self.provider_errors.as_ref().map(|f| f.status),
        ];
        if statuses.iter().flatten().any(|s| !(500..=599).contains(s)) {
            return Err("status must be 500 to 599");
        }
        let rates = [&self.origin_errors, &self.provider_errors];
        let mut rates = rates.into_iter().flatten().map(|f| f.rate);
        if rates.any(|rate| !(0.0..=1.0).contains(&rate)) {
            return Err("rate must be 0 to 1");
        }
        if self.clock_skew_s.abs() > 10 * 365 * 86_400 {
            return Err("clock_skew_s must be within ten years");
        }
        if self.late_commits.as_ref().is_some_and(|f| f.every == 0) {
            return Err("every must be at least 1");
        }
        Ok(())
    }
}

/// An answer from something in front of the edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CdnError {
    /// 500 to 599, the CDN's own 520 to 530 among them.
    pub status: u16,
    /// What is in it.
    pub body: CdnBody,
    /// Its `Retry-After`, if it has one.
    pub retry_after_s: Option<u64>,
}

impl Default for CdnError {
    fn default() -> Self {
        Self {
            status: 502,
            body: CdnBody::Html,
            retry_after_s: None,
        }
    }
}

/// What a CDN's error page holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CdnBody {
    /// A page.
    Html,
    /// Nothing.
    Empty,
}

/// What comes from an AI provider in place of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Garbage {
    /// A page.
    Html,
    /// An answer in its own form, whose words are not what was asked for.
    Prose,
    /// JSON of another shape.
    Shape,
    /// Bytes without an end.
    Endless,
}

/// How an edge without an origin says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unconfigured {
    /// 503 `SERVICE_UNAVAILABLE`.
    ServiceUnavailable,
    /// 500 `CONFIG_ERROR`.
    ConfigError,
}

/// What is wrong with the edge's sign-in configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignIn {
    /// There is none.
    Missing,
    /// Half of it is there.
    Partial,
    /// It cannot be right.
    Invalid,
}

/// Answers of 5xx from the origin, or from the AI provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OriginErrors {
    /// Which part of the requests, evenly: 0.5 is every second one.
    pub rate: f64,
    /// 500 to 599.
    pub status: u16,
    /// `Retry-After`, if there is to be one.
    pub retry_after_s: Option<u64>,
}

impl Default for OriginErrors {
    fn default() -> Self {
        Self {
            rate: 1.0,
            status: 500,
            retry_after_s: None,
        }
    }
}

/// Which access to the database fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DatabaseFault {
    /// Reads only.
    Reads,
    /// Writes only, as on a read-only replica.
    Writes,
    /// Everything, the health check too.
    All,
}

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    /// The body ends as it should.
    Clean,
    /// The connection is reset.
    Reset,
}

/// Streams that do not last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flap {
    /// How long each lasts.
    pub after_ms: u64,
    /// How each ends.
    pub how: Cut,
}

/// A rate limit that is used up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimited {
    /// How long to wait, as the answer says.
    pub retry_after_s: u64,
}

/// Some, or every one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// Every one.
    All,
    /// Only these.
    Only(Vec<String>),
}

impl Selection {
    /// Whether `name` is among them.
    #[must_use]
    pub fn holds(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.iter().any(|n| n.eq_ignore_ascii_case(name)),
        }
    }
}

/// Pushes whose numbers are older than their commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LateCommits {
    /// How much later they commit.
    pub delay_ms: u64,
    /// Which pushes: 1 is every one, 2 the first, the third, and so on.
    pub every: u64,
}

/// A snapshot whose cursor is younger than its rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SnapshotGap {
    /// How long between the two.
    pub delay_ms: u64,
    /// Whether the service itself writes a record in between.
    pub write: bool,
}

impl Default for SnapshotGap {
    fn default() -> Self {
        Self {
            delay_ms: 0,
            write: true,
        }
    }
}
