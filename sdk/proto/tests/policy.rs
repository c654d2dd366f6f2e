//! The policy table against the design's words, and the page printed from it.

use evenkeel_proto::Cause;
use evenkeel_proto::policy::{self, Class, REQUESTS, Rule, Scope};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/POLICY.md");

#[test]
fn the_page_is_fresh() {
    if std::env::var_os("EVENKEEL_WRITE").is_some() {
        std::fs::write(PAGE, policy::page()).unwrap();
    }
    let page = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(
        page == policy::page(),
        "POLICY.md is stale: EVENKEEL_WRITE=1 cargo test -p evenkeel-proto --test policy"
    );
}

/// The design's table, written a second time by hand: cause, class and scope for
/// ticket, events, pull, snapshot, push.
const EXPECTED: &str = "
origin_unconfigured          slow/client    slow/client    slow/client    slow/client    slow/client
timeout                      backoff/others backoff/lane   backoff/others backoff/others backoff/others
network_error                backoff/client backoff/client backoff/client backoff/client backoff/client
upstream_5xx                 backoff/others backoff/lane   backoff/others backoff/others backoff/others
circuit_open                 gate/client    gate/client    gate/client    gate/client    gate/client
kv_unavailable               backoff/others backoff/lane   backoff/others backoff/others backoff/others
provider_timeout             backoff/others backoff/lane   backoff/others backoff/others backoff/others
provider_5xx                 backoff/others backoff/lane   backoff/others backoff/others backoff/others
provider_circuit_open        backoff/others backoff/lane   backoff/others backoff/others backoff/others
provider_network_error       backoff/others backoff/lane   backoff/others backoff/others backoff/others
auth_required                ask/client     again/lane     ask/client     ask/client     ask/client
device_revoked               ask/client     ask/client     ask/client     ask/client     ask/client
rate_limited                 gate/client    gate/client    gate/client    gate/client    gate/client
ticket_required              again/lane     again/lane     slow/others    slow/others    slow/others
ticket_invalid               again/lane     again/lane     slow/others    slow/others    slow/others
ticket_expired               again/lane     again/lane     slow/others    slow/others    slow/others
ticket_replayed              again/lane     again/lane     slow/others    slow/others    slow/others
ticket_storage_unavailable   backoff/lane   backoff/lane   backoff/others backoff/others backoff/others
bad_request                  slow/others    slow/lane      slow/others    slow/others    backoff/lane
payload_too_large            slow/others    slow/lane      slow/others    slow/others    backoff/lane
not_found                    slow/others    slow/lane      slow/others    slow/others    slow/others
forbidden                    slow/others    slow/lane      slow/others    slow/others    slow/others
server_error                 backoff/others backoff/lane   backoff/others backoff/others backoff/others
offline                      backoff/client backoff/client backoff/client backoff/client backoff/client
dns_failed                   backoff/client backoff/client backoff/client backoff/client backoff/client
connect_failed               backoff/client backoff/client backoff/client backoff/client backoff/client
tls_failed                   backoff/client backoff/client backoff/client backoff/client backoff/client
connection_lost              backoff/others backoff/lane   backoff/others backoff/others backoff/others
response_timeout             backoff/others backoff/lane   backoff/others backoff/others backoff/others
stream_closed                again/lane     again/lane     backoff/others backoff/others backoff/others
stream_stalled               backoff/others backoff/lane   backoff/others backoff/others backoff/others
redirected                   slow/client    slow/lane      slow/client    slow/client    slow/client
not_the_service              slow/client    slow/lane      slow/client    slow/client    slow/client
bad_response                 slow/others    slow/lane      slow/others    slow/others    slow/others
response_too_large           slow/others    slow/lane      slow/others    slow/others    slow/others
token_unavailable            backoff/client backoff/client backoff/client backoff/client backoff/client
store_failed                 slow/client    slow/client    slow/client    slow/client    slow/client
storage_full                 slow/client    slow/client    slow/client    slow/client    slow/client
";

#[test]
fn every_cause_and_request_has_the_designed_rule() {
    let mut seen = Vec::new();
    for line in EXPECTED.lines().filter(|line| !line.is_empty()) {
        let mut words = line.split_whitespace();
        let cause = Cause::from_name(words.next().unwrap()).unwrap();
        seen.push(cause);
        for request in REQUESTS {
            let (class, scope) = words.next().unwrap().split_once('/').unwrap();
            let scope = match scope {
                "client" => Scope::Client,
                "lane" => Scope::Lane,
                "others" => Scope::LaneWhileOthersWork,
                other => panic!("{other}"),
            };
            let class = Class::from_name(class).unwrap();
            assert_eq!(
                policy::rule(cause, request),
                Rule { class, scope },
                "{cause} on {request:?}"
            );
        }
    }
    assert_eq!(seen, Cause::ALL, "a cause without an expectation");
}
