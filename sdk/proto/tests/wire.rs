//! The contract's payloads: every vector is read leniently and written strictly.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use evenkeel_proto::wire::{
    AiAnswer, AiSession, AiTask, Analysis, BootstrapAnswer, BootstrapRequest, ConnectRequest,
    Cursor, DeviceList, EdgeMetrics, ErrorEnvelope, PullPage, PushAnswer, PushRequest, Ready,
    Record, RevokeAnswer, SameSite, Scale, ServiceError, SetCookie, Snapshot, StreamMessage,
    TICKET_COOKIE, TicketAnswer, UnixMillis, Version,
};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

#[test]
fn every_vector_is_read_leniently_and_written_strictly() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/wire");
    let mut read = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let vector: Value = serde_json::from_str(&text).unwrap();
        let name = vector["name"].as_str().unwrap();
        let outcome = rewrite(&vector, &vector["body"]);
        if vector["refused"] == json!(true) {
            assert!(outcome.is_err(), "{name}: {outcome:?}");
        } else {
            let written = outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(written, vector["expect"], "{name}");
            if vector.get("body").is_some() {
                let again = rewrite(&vector, &written).unwrap();
                assert_eq!(again, written, "{name}: writing is stable");
            }
        }
        read += 1;
    }
    assert!(read > 50, "only {read} vectors");
}

fn rewrite(vector: &Value, body: &Value) -> Result<Value, String> {
    match vector["kind"].as_str().unwrap() {
        "record" => through::<Record>(body),
        "pull_page" => through::<PullPage>(body),
        "snapshot" => through::<Snapshot>(body),
        "push_request" => through::<PushRequest>(body),
        "push_answer" => through::<PushAnswer>(body),
        "bootstrap_request" => through::<BootstrapRequest>(body),
        "bootstrap_answer" => through::<BootstrapAnswer>(body),
        "device_list" => through::<DeviceList>(body),
        "revoke_answer" => through::<RevokeAnswer>(body),
        "ticket_answer" => through::<TicketAnswer>(body),
        "error_envelope" => through::<ErrorEnvelope>(body),
        "connect_request" => through::<ConnectRequest>(body),
        "ai_session" => through::<AiSession>(body),
        "analysis" => through::<AiAnswer<Analysis>>(body),
        "ready" => through::<Ready>(body),
        "edge_metrics" => through::<EdgeMetrics>(body),
        "stream_event" => {
            let event = vector["event"].as_str().unwrap();
            let message = StreamMessage::parse(event, vector["data"].as_str().unwrap())
                .map_err(|error| error.to_string())?;
            let data: Value = serde_json::from_str(&message.data()).unwrap();
            Ok(json!({ "event": message.event(), "data": data }))
        }
        "set_cookie" => {
            let cookie = SetCookie::parse(vector["header"].as_str().unwrap()).ok_or("no cookie")?;
            assert_eq!(SetCookie::parse(&cookie.to_header()), Some(cookie.clone()));
            Ok(json!({
                "name": cookie.name,
                "value": cookie.value,
                "path": cookie.path,
                "max_age_s": cookie.max_age.map(|age| age.as_secs()),
                "http_only": cookie.http_only,
                "same_site": cookie.same_site.map(|same_site| match same_site {
                    SameSite::Strict => "strict",
                    SameSite::Lax => "lax",
                    SameSite::None => "none",
                }),
                "secure": cookie.secure,
            }))
        }
        kind => panic!("no such kind: {kind}"),
    }
}

/// Both ways in: from text, as the client reads, and from a tree, as `flatten` and `untagged` do.
fn through<T: DeserializeOwned + Serialize>(body: &Value) -> Result<Value, String> {
    let from_tree: Result<T, _> = serde_json::from_value(body.clone());
    let from_text: Result<T, _> = serde_json::from_str(&body.to_string());
    assert_eq!(from_tree.is_ok(), from_text.is_ok());
    let from_tree = from_tree.map_err(|error| error.to_string())?;
    let written = serde_json::to_value(from_text.map_err(|error| error.to_string())?).unwrap();
    assert_eq!(serde_json::to_value(from_tree).unwrap(), written);
    Ok(written)
}

#[test]
fn the_apps_fields_keep_their_order_and_their_exact_numbers() {
    let text = concat!(
        r#"{"id":"n","version":1,"createdAt":2,"updatedAt":3,"zebra":1,"apple":null,"#,
        r#""nested":{"z":[0.1,1e-7,123456789.12345679],"a":18446744073709551615}}"#
    );
    let record: Record = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&record).unwrap(), text);
}

#[test]
fn the_apps_fields_cannot_stand_in_for_the_services() {
    let mut record: Record = serde_json::from_str(r#"{"id":"n","version":1}"#).unwrap();
    record.fields.insert("version".to_owned(), json!(9));
    let written = serde_json::to_string(&record).unwrap();
    assert_eq!(
        written,
        r#"{"id":"n","version":1,"createdAt":0,"updatedAt":0}"#
    );
}

#[test]
fn numbers_may_be_texts_but_must_be_whole_and_in_range() {
    for good in ["7", "7.0", "7e0", r#""7""#, r#"" 7 ""#] {
        assert_eq!(serde_json::from_str::<Cursor>(good).unwrap(), Cursor(7));
        assert_eq!(serde_json::from_str::<Version>(good).unwrap(), Version(7));
    }
    let max = serde_json::from_str::<Cursor>("\"9223372036854775807\"").unwrap();
    assert_eq!(max, Cursor(i64::MAX as u64));
    let beyond = ["9223372036854775808", "\"18446744073709551615\""];
    let bad = ["-1", "1.5", "1e30", r#""""#, r#""x""#, "null", "true", "[]"];
    for bad in bad.iter().chain(&beyond) {
        assert!(serde_json::from_str::<Cursor>(bad).is_err(), "{bad}");
    }
    let before_1970 = serde_json::from_str::<UnixMillis>("-5.0").unwrap();
    assert_eq!(before_1970, UnixMillis(-5));
    assert!(serde_json::from_str::<UnixMillis>("18446744073709551615").is_err());
}

#[test]
fn neither_secrets_nor_content_can_be_printed() {
    let ticket: TicketAnswer = serde_json::from_str(r#"{"ticket":"hush-1"}"#).unwrap();
    let connect: ConnectRequest =
        serde_json::from_str(r#"{"provider":"gemini","apiKey":"hush-2"}"#).unwrap();
    let cookie = SetCookie::parse("pb_stream_ticket=hush-3").unwrap();
    let page: PullPage = serde_json::from_str(
        r#"{"changes":[{"cursor":1,"op":"upsert","note":{"id":"n","version":1,"content":"hush-4"}}],
            "nextCursor":1}"#,
    )
    .unwrap();
    let shown = format!("{ticket:?} {connect:#?} {cookie:?} {page:#?}");
    assert!(!shown.contains("hush"), "{shown}");
    assert_eq!(format!("{:?}", cookie.value), "***");
    let record = format!("{:?}", page.changes);
    assert!(
        record.contains(r#"id: "n""#) && record.contains(r#"["content"]"#),
        "{record}"
    );
}

#[test]
fn a_record_is_deleted_where_the_service_says_when() {
    for (deleted_at, is) in [("5", true), ("null", false)] {
        let text = format!(r#"{{"id":"n","version":1,"deletedAt":{deleted_at}}}"#);
        let record: Record = serde_json::from_str(&text).unwrap();
        assert_eq!(record.is_deleted(), is);
    }
    let error = serde_json::from_str::<Record>("7").unwrap_err();
    assert!(
        error
            .to_string()
            .contains("a record with at least an id and a version"),
        "{error}"
    );
}

#[test]
fn the_ticket_is_found_among_other_cookies() {
    let mut headers = http::HeaderMap::new();
    for value in [
        "a=1",
        "pb_stream_ticket=old",
        "pb_stream_ticket=new; Max-Age=60",
        "pb_stream_ticket=",
    ] {
        headers.append("set-cookie", http::HeaderValue::from_static(value));
    }
    let cookie = SetCookie::find(&headers, TICKET_COOKIE).unwrap();
    assert_eq!(cookie.value.expose(), "new");
    assert_eq!(SetCookie::find(&headers, "b"), None);
}

#[test]
fn a_cookie_goes_to_its_path_and_what_lies_below() {
    for (own, path, fits) in [
        ("; Path=/api/v2/events", "/api/v2/events", true),
        ("; Path=/api/v2/events", "/api/v2/events/more", true),
        ("; Path=/api/v2/events", "/api/v2/eventsource", false),
        ("; Path=/api/v2/events", "/api/v2", false),
        ("; Path=/api/", "/api/v2/events", true),
        ("", "/anything", true),
    ] {
        let cookie = SetCookie::parse(&format!("t=x{own}")).unwrap();
        assert_eq!(cookie.is_for(path), fits, "{own} {path}");
    }
    let mut headers = http::HeaderMap::new();
    for value in ["t=first", "t=elsewhere; Path=/else", "other=x; Path=/api"] {
        headers.append("set-cookie", http::HeaderValue::from_static(value));
    }
    let found = SetCookie::find_for(&headers, "t", "/api").unwrap();
    assert_eq!(found.value.expose(), "first");
    assert_eq!(SetCookie::find_for(&headers, "none", "/api"), None);
}

#[test]
fn a_cookie_is_of_four_kibibytes_at_most_and_its_attributes_are_kept() {
    let long = |bytes| SetCookie::parse(&format!("t={}", "x".repeat(bytes)));
    assert!(long(4_096).is_some());
    assert_eq!(long(4_097), None);
    let aged = SetCookie::parse("t=x; Max-Age=99999999999").unwrap();
    let days = aged.max_age.map(|age| age.as_secs() / 86_400);
    assert_eq!(days, Some(400), "as browsers have it");
    for (text, same_site) in [
        ("Strict", SameSite::Strict),
        ("lax", SameSite::Lax),
        ("NONE", SameSite::None),
    ] {
        let cookie = SetCookie::parse(&format!("t=x; SameSite={text}")).unwrap();
        assert_eq!(cookie.same_site, Some(same_site));
    }
}

#[test]
fn a_task_is_named_by_the_end_of_its_path() {
    for task in AiTask::ALL {
        assert_eq!(AiTask::of_path(task.path()), Some(task));
    }
    assert_eq!(AiTask::of_path("/api/v1/ai"), None);
    let names = AiTask::ALL.map(AiTask::as_str);
    let expected = [
        "analyze",
        "batch",
        "cleanup",
        "search",
        "daily-brief",
        "transcribe",
    ];
    assert_eq!(names, expected);
}

#[test]
fn a_ticket_says_until_when_in_either_flavour() {
    for (body, until, in_body) in [
        (r#"{"ok":true,"expiresAt":7}"#, Some(7), false),
        (r#"{"ticket":"t","expires_at_ms":8}"#, Some(8), true),
        (r#"{"ticket":"","ok":true}"#, None, false),
    ] {
        let ticket: TicketAnswer = serde_json::from_str(body).unwrap();
        assert_eq!(ticket.expires_at(), until.map(UnixMillis), "{body}");
        let here = matches!(ticket, TicketAnswer::Body { .. });
        assert_eq!(here, in_body, "{body}");
    }
}

#[test]
fn the_next_record_is_counted_from_nothing_within_the_same_text() {
    let mut scale = Scale::default();
    scale.add(br#"[{"a":1},{"b":"begun"#);
    assert!(scale.bytes() == 20 && scale.tree_bytes() > 0);
    scale.begin();
    scale.add(b",,,,[[[[");
    assert_eq!(
        (scale.bytes(), scale.tree_bytes()),
        (8, 0),
        "a text goes on"
    );
    scale.add(br#"",""#);
    assert!(scale.tree_bytes() > 0);
}

#[test]
fn a_hint_is_written_as_a_whole_number_where_it_is_one() {
    for (read, written) in [
        ("17000.0", "17000"),
        ("-3.0", "-3"),
        ("0.5", "0.5"),
        ("9e15", "9000000000000000.0"),
        ("1e300", "1e+300"),
    ] {
        let error: ServiceError =
            serde_json::from_str(&format!(r#"{{"retryAfterMs":{read}}}"#)).unwrap();
        let text = serde_json::to_string(&error).unwrap();
        assert_eq!(text, format!(r#"{{"retryAfterMs":{written}}}"#));
    }
}

#[test]
fn an_event_is_encoded_as_the_decoder_reads_it() {
    let message = StreamMessage::parse("sync", r#"{"cursor":"9","ts":1}"#).unwrap();
    assert_eq!(
        message.encode(),
        "event: sync\ndata: {\"cursor\":9,\"ts\":1}\n\n"
    );
}

proptest! {
    #[test]
    fn no_cookie_header_panics(header in ".*") {
        if let Some(cookie) = SetCookie::parse(&header) {
            prop_assert_eq!(SetCookie::parse(&cookie.to_header()), Some(cookie));
        }
    }

    #[test]
    fn no_bytes_panic_a_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = serde_json::from_slice::<PullPage>(&bytes);
        let _ = serde_json::from_slice::<ErrorEnvelope>(&bytes);
        let _ = StreamMessage::parse("sync", &String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn every_record_survives_the_way(
        id in ".{1,20}",
        version in 0..=i64::MAX as u64,
        created in any::<i64>(),
        deleted in any::<Option<i64>>(),
        fields in prop::collection::btree_map("[a-z]{6,9}", any::<f64>(), 0..8),
    ) {
        let record = Record {
            id,
            version: Version(version),
            created_at: UnixMillis(created),
            updated_at: UnixMillis(0),
            deleted_at: deleted.map(UnixMillis),
            fields: fields
                .into_iter()
                .filter(|(name, _)| name != "version")
                .map(|(name, value)| (name, json!(value)))
                .collect(),
        };
        let text = serde_json::to_string(&record).unwrap();
        prop_assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }
}
