//! What `kv protocol --schema` prints is what the daemon does.

use std::ops::ControlFlow;

use jsonschema::Validator;
use kv::store::maintenance;
use serde_json::{Value, json};

use super::{exchange, golden};
use crate::support::{Kv, address};

fn schema(kv: &Kv) -> Value {
    serde_json::from_str(&kv.ok("kv protocol --schema")).unwrap()
}

/// The validator of one message of the schema.
fn validator(schema: &Value, message: &Value) -> Validator {
    let mut message = message.clone();
    message["$defs"] = schema["$defs"].clone();
    jsonschema::validator_for(&message).unwrap()
}

/// Puts a backup beside the store, to be restored under the epoch that is answered.
fn staged(kv: &Kv) -> String {
    let backup = kv.directory.path().join("backup.db");
    let go_on = &mut |_| ControlFlow::Continue(());
    let store = address(kv.directory.path());
    let staged = maintenance::stage(&store, maintenance::Source::File(&backup), go_on).unwrap();
    let epoch = staged.epoch.clone();
    let _taken = staged.hand_over();
    epoch
}

/// Every request that is answered ok, and every reply, is as the schema says.
#[test]
fn every_message_fits_the_schema() {
    let kv = Kv::new();
    let schema = schema(&kv);
    let error = validator(&schema, &schema["error"]);
    let (mut requests, mut replies) = (golden("> "), golden("< "));
    kv.ok("kv init; kv backup backup.db");
    let restore = format!(r#"{{"op":"restore","epoch":"{}"}}"#, staged(&kv));
    // Their replies differ in every run.
    let own = [
        r#"{"op":"hello"}"#,
        r#"{"op":"status"}"#,
        r#"{"op":"subscribe","id":"s"}"#,
        r#"{"op":"unsubscribe","subscription":"s"}"#,
        r#"{"op":"lock.acquire","name":"l","owner":"me","duration_ms":60000,"session":true}"#,
        r#"{"op":"lock.acquire","name":"l","owner":"you","duration_ms":1,"wait_ms":60000,"id":"w"}"#,
        r#"{"op":"cancel","target":"w"}"#,
        r#"{"op":"compact"}"#,
        &restore,
        r#"{"id":"last","op":"shutdown"}"#,
    ];
    let mut own_replies = exchange(&kv, format!("{}\n", own.join("\n")).as_bytes());
    // What waits answers out of order.
    let is_late = |reply: &String| reply.starts_with(r#"{"id":"w","#);
    let late = own_replies.iter().position(is_late).map(|position| own_replies.remove(position));
    own_replies.insert(5, late.unwrap());
    requests.extend(own);
    replies.extend(own_replies.iter().map(String::as_str));
    assert_eq!(requests.len(), replies.len());
    let mut seen = std::collections::HashSet::new();
    for (request, reply) in requests.iter().zip(&replies) {
        let reply: Value = serde_json::from_str(reply).unwrap();
        if reply["ok"] == json!(false) {
            assert!(error.is_valid(&reply), "{reply}");
            continue;
        }
        let request: Value = serde_json::from_str(request).unwrap();
        let op = request["op"].as_str().unwrap();
        seen.insert(op.to_owned());
        for (kind, message) in [("requests", &request), ("replies", &reply)] {
            let found = validator(&schema, &schema[kind][op]);
            assert!(found.is_valid(message), "{kind} {op}: {message} {:?}", found.validate(message).err());
        }
    }
    let all = schema["requests"].as_object().unwrap();
    let missing: Vec<&String> = all.keys().filter(|&op| !seen.contains(op)).collect();
    assert!(missing.is_empty(), "no line shows {missing:?}");
}

#[test]
fn every_event_fits_the_schema() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1; kv put b --value 2 --of-type T");
    let schema = schema(&kv);
    let events = kv.ok(
        "(echo '{\"op\":\"subscribe\",\"after\":0}'; sleep 0.3) | kv rpc & sleep 0.2; kv daemon stop; wait",
    );
    let mut events: Vec<&str> = events.lines().skip(1).collect();
    assert_eq!(events.len(), 3, "two changes and the end: {events:?}");
    // Half a minute would pass before this comes.
    events.push(r#"{"subscription":1,"event":"progress","seq":9,"lag":2}"#);
    for event in events {
        let event: Value = serde_json::from_str(event).unwrap();
        let kind = event["event"].as_str().unwrap();
        let found = validator(&schema, &schema["events"][kind]);
        assert!(found.is_valid(&event), "{event} {:?}", found.validate(&event).err());
    }
}

/// Of each kind of JSON one, and numbers at their edges.
fn values() -> Vec<Value> {
    let edges = ["-1", "1", "1.5", "1e400", "18446744073709551616", "-9223372036854775809"];
    let numbers = edges.iter().map(|text| serde_json::from_str(text).unwrap());
    [json!(null), json!(true), json!("x"), json!([]), json!([1]), json!({}), json!({"a": 1})]
        .into_iter()
        .chain(numbers)
        .collect()
}

/// What the schema refuses, the daemon refuses, and says which field it is; the rest of the request is as it should be.
#[test]
fn a_wrong_type_in_any_field_of_any_operation_is_refused_by_its_name() {
    let kv = Kv::new();
    kv.ok("kv init");
    let schema = schema(&kv);
    let mut lines = String::new();
    let mut expected = Vec::new();
    for (op, request) in schema["requests"].as_object().unwrap() {
        let valid = valid_request(op);
        assert!(validator(&schema, request).is_valid(&valid), "{valid}");
        for (field, field_schema) in request["properties"].as_object().unwrap() {
            let field_validator = validator(&schema, field_schema);
            for value in values().iter().filter(|value| !field_validator.is_valid(value)) {
                let mut wrong = valid.clone();
                wrong[field] = value.clone();
                lines.push_str(&format!("{wrong}\n"));
                expected.push((op.clone(), field.clone(), value.clone()));
            }
        }
        let mut unknown = valid.clone();
        unknown["verison"] = json!(1);
        lines.push_str(&format!("{unknown}\n"));
        expected.push((op.clone(), "verison".to_owned(), json!(1)));
    }
    assert!(expected.len() > 500, "{}", expected.len());
    let replies = exchange(&kv, lines.as_bytes());
    assert_eq!(replies.len(), expected.len());
    for ((op, field, value), reply) in expected.iter().zip(&replies) {
        let error = &serde_json::from_str::<Value>(reply).unwrap()["error"];
        let code = error["code"].as_str().unwrap();
        let codes =
            if field == "op" { ["bad_request", "unknown_op"] } else { ["bad_request", "unknown_field"] };
        assert!(codes.contains(&code), "{op}.{field} = {value}: {reply}");
        let named = error["field"].as_str().unwrap_or("op");
        assert!(named.starts_with(field.as_str()), "{op}.{field} = {value}: {reply}");
    }
    assert_eq!(kv.ok("kv stream seq; kv lock list"), "0\n[]\n", "nothing was written");
}

/// A request with what its operation needs, which changes nothing.
fn valid_request(op: &str) -> Value {
    let mut request = match op {
        "get" | "delete" => json!({ "key": "a" }),
        "put" => json!({ "key": "a", "value": 1, "version": 9 }),
        "patch" => json!({ "key": "a", "patch": {}, "version": 9 }),
        "expire" => json!({ "key": "a", "ttl_ms": 1, "version": 9 }),
        "increment" => json!({ "key": "a", "version": 9 }),
        "import" => json!({ "key": "a", "value": 1, "version": 1, "created": "2020-01-01T00:00:00Z",
            "updated": "2020-01-01T00:00:00Z", "expires": "2020-01-01T00:00:00Z" }),
        "mutate" => json!({ "mutations": [{ "op": "check", "key": "a" }] }),
        "stream.trim" => json!({ "seq": 0 }),
        "lock.acquire" => json!({ "name": "l", "owner": "o", "duration_ms": 1, "fence": 1 }),
        "lock.release" => json!({ "name": "l", "owner": "o" }),
        "lock.status" | "consumer.get" | "consumer.status" | "consumer.delete" => json!({ "name": "l" }),
        "consumer.commit" => json!({ "name": "l", "seq": 99 }),
        "subscribe" => json!({ "after": 99 }),
        "unsubscribe" => json!({ "subscription": "s" }),
        "cancel" => json!({ "target": 1 }),
        "restore" => json!({ "epoch": "e" }),
        _ => json!({}),
    };
    request["op"] = json!(op);
    request
}

#[test]
fn the_document_lists_every_operation_and_every_field() {
    let kv = Kv::new();
    let document = kv.ok("kv protocol");
    let schema = schema(&kv);
    for (op, request) in schema["requests"].as_object().unwrap() {
        let row = document.lines().find(|line| line.starts_with("| ") && line.contains(&format!("`{op}`")));
        assert!(row.is_some(), "{op} has no row");
        for field in request["properties"].as_object().unwrap().keys() {
            assert!(document.contains(field.as_str()), "{op}.{field} is not in the document");
        }
        assert!(document.contains(&format!(r#""op":"{op}""#)), "no example shows {op}");
    }
}
