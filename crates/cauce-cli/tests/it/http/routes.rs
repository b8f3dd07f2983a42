//! What the routes do, and that the document describes them.

use serde_json::{Value, json};

use super::client::{Answer, Api};

#[test]
fn it_is_healthy_once_the_broker_answers() {
    let api = Api::start(&[]);
    let answer = api.get("/health");
    assert_eq!((answer.status, answer.json()), (200, json!({"status": "ok"})));
}

#[test]
fn entries_are_appended_and_shown() {
    let api = Api::start(&[]);
    let path = "/v1/streams/a%2Fb/entries";
    let empty = api.get(path);
    assert_eq!((empty.status, empty.json()), (200, json!({"entries": []})));
    let answer = api.ask(
        "POST",
        path,
        &["Content-Type: application/json; charset=utf-8"],
        r#"{"fields": {"z": "1", "a": "ä"}}"#,
    );
    assert_eq!(answer.status, 201);
    let id = answer.json()["id"].clone();
    let shown = api.get(path);
    assert_eq!(shown.json(), json!({"entries": [{"id": id, "fields": {"z": "1", "a": "ä"}}]}));
    assert!(shown.body.contains(r#"{"z":"1","a":"ä"}"#), "the order is kept: {shown:?}");
    api.server.ask("XLEN a/b", ":1\r\n");
}

#[test]
fn events_are_written_as_the_toolkit_writes_them() {
    let api = Api::start(&[]);
    let body = r#"{"action": "order.created", "data": {"order":  7.0}, "id": "7", "source": "shop", "traceparent": "00-ab-cd-01"}"#;
    assert_eq!(
        api.ask("POST", "/v1/streams/orders/entries", &["Content-Type: application/json"], body).status,
        201
    );
    api.post("/v1/streams/orders/entries", &json!({"action": "order.deleted"}));
    let entries = api.get("/v1/streams/orders/entries").json()["entries"].clone();
    let mut fields = entries[0]["fields"].clone();
    assert!(fields["time"].take().as_str().unwrap().ends_with('Z'));
    assert_eq!(
        fields,
        json!({
            "action": "order.created", "id": "7", "time": null, "source": "shop", "traceparent": "00-ab-cd-01",
            "content-type": "application/json", "data": r#"{"order":  7.0}"#,
        })
    );
    let fields = &entries[1]["fields"];
    assert_eq!((fields["action"].as_str(), fields["data"].as_str()), (Some("order.deleted"), Some("null")));
    assert_eq!((fields["source"].as_str(), fields["id"].as_str().map(str::len)), (Some("cauce"), Some(36)));
}

#[test]
fn a_range_is_shown_in_pages() {
    let api = Api::start(&[]);
    let ids: Vec<String> = (0..40).map(|number| api.append("s", number)).collect();
    let check = |query: &str, expected: &[usize], next: Option<&str>| {
        let answer = api.get(&format!("/v1/streams/s/entries?{query}")).json();
        let entries = answer["entries"].as_array().unwrap();
        let numbers: Vec<usize> =
            entries.iter().map(|entry| entry["fields"]["n"].as_str().unwrap().parse().unwrap()).collect();
        assert_eq!((&numbers[..], answer["next"].as_str()), (expected, next), "{query}");
    };
    check("", &(0..40).collect::<Vec<_>>(), None);
    check("count=20", &(0..20).collect::<Vec<_>>(), Some(&ids[19]));
    check(&format!("after={}&count=2", ids[19]), &[20, 21], Some(&ids[21]));
    check(&format!("from={}&to={}", ids[3], ids[4]), &[3, 4], None);
    check(&format!("from={}", ids[39]), &[39], None);
    check(&format!("to={}", ids[0].split_once('-').unwrap().0.parse::<u64>().unwrap() - 1), &[], None);
}

#[test]
fn an_answer_with_large_entries_ends_early() {
    let api = Api::start(&[]);
    let large = "x".repeat(1_000_000);
    for _ in 0..40 {
        assert_eq!(api.post("/v1/streams/s/entries", &json!({"fields": {"large": large}})).status, 201);
    }
    let answer = api.get("/v1/streams/s/entries?count=1000").json();
    assert_eq!(answer["entries"].as_array().unwrap().len(), 16);
    assert_eq!(answer["next"], answer["entries"][15]["id"]);
}

#[test]
fn messages_are_published() {
    let api = Api::start(&[]);
    let publish = |body: Value| api.post("/v1/channels/c/messages", &body).json();
    assert_eq!(publish(json!({"message": "nobody hears"})), json!({"receivers": 0}));
    let mut events = api.follow("/v1/channels/c/follow", &[]);
    assert_eq!(publish(json!({"message": "gate\nclosed"})), json!({"receivers": 1}));
    assert_eq!(publish(json!({"data": {"gate": 7}})), json!({"receivers": 1}));
    let mut next = || events.next().unwrap().2;
    assert_eq!(next(), json!({"channel": "c", "message": "gate\nclosed"}));
    assert_eq!(next(), json!({"channel": "c", "message": r#"{"gate":7}"#}));
    api.server.ask("PUBLISH c \"\\xff\"", ":1\r\n");
    assert_eq!(next(), json!({"channel": "c", "message": "\u{FFFD}", "message_base64": "/w=="}));
}

#[test]
fn what_is_wrong_is_said() {
    let api = Api::start(&[]);
    let body = |path: &str, body: &str, detail: &str| {
        api.ask("POST", path, &["Content-Type: application/json"], body).is_problem(
            400,
            "invalidBody",
            detail,
        );
    };
    let entries = "/v1/streams/s/entries";
    body(entries, "{", "EOF while parsing");
    body(entries, "{}", "give `fields` for an entry as it is, or `action` and `data` for an event");
    body(entries, r#"{"fields": {}}"#, "an entry needs at least one field");
    body(entries, r#"{"fields": {"a": 1}}"#, "invalid type: integer `1`, expected a string");
    body(entries, r#"{"fields": {"a": "1"}, "id": "1"}"#, "not both");
    body(entries, r#"{"action": "a", "fields": {"a": "1"}}"#, "not both");
    body(entries, r#"{"acton": "a"}"#, "unknown field `acton`");
    body(
        "/v1/channels/c/messages",
        r#"{"message": "a", "data": 1}"#,
        "give `message` for a text, or `data` for JSON",
    );
    let value = |path: &str, detail: &str| api.get(path).is_problem(400, "invalidValue", detail);
    value("/v1/streams/s/entries?count=0", "count must be between 1 and 1000");
    value("/v1/streams/s/entries?count=1001", "count must be between 1 and 1000");
    value("/v1/streams/s/entries?count=many", "invalid digit");
    value("/v1/streams/s/entries?cuont=1", "unknown field `cuont`");
    value("/v1/streams/s/entries?from=x", "from: `x` is not an entry id");
    value("/v1/streams/s/entries?from=1&after=2", "give `from` or `after`, not both");
    value("/v1/streams/s/follow?from=$", "from: `$` is not an entry id");
    api.ask("GET", "/v1/streams/s/follow", &["Last-Event-ID: x"], "").is_problem(
        400,
        "invalidValue",
        "Last-Event-ID: `x`",
    );
    api.get("/v1/streams/%ff/entries").is_problem(400, "invalidPath", "UTF-8");
    api.get("/v1").is_problem(404, "notFound", "GET /v1/openapi.json");
    let wrong = api.ask("DELETE", entries, &[], "");
    wrong.is_problem(405, "methodNotAllowed", "Allow");
    assert!(wrong.head.contains("allow: POST,GET,HEAD"), "{wrong:?}");
    api.ask("POST", entries, &[], r#"{"fields": {"a": "1"}}"#).is_problem(
        415,
        "notJson",
        "Content-Type: application/json",
    );
    api.server.ask("SET text x", "+OK\r\n");
    for path in ["/v1/streams/text/entries", "/v1/streams/text/follow"] {
        api.get(path).is_problem(409, "wrongType", "the broker answered: WRONGTYPE");
    }
}

/// Each operation that the document describes is there: whatever it says to a request with made-up parts, it is not that there is no such
/// path or method.
#[test]
fn every_route_of_the_document_answers() {
    let api = Api::start(&[]);
    let document = api.get("/v1/openapi.json").json();
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let path = path.split('/').map(|part| if part.starts_with('{') { "made-up" } else { part });
            let path = path.collect::<Vec<_>>().join("/");
            let name = operation["operationId"].as_str().unwrap();
            let mut stream = api.connect();
            let method = method.to_uppercase();
            let request = super::client::request(
                &api.address,
                &method,
                &path,
                &["Content-Type: application/json"],
                "{}",
            );
            std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
            if name.starts_with("follow") {
                super::client::Events::read(stream);
            } else {
                let answer = Answer::read(stream);
                let declared = operation["responses"][answer.status.to_string()].is_object();
                assert!(
                    declared || answer.head.contains("application/problem+json"),
                    "{method} {path}: {answer:?}"
                );
                assert!(
                    !answer.body.contains("\"notFound\"") && answer.status != 405,
                    "{method} {path}: {answer:?}"
                );
            }
            operations.push(name.to_owned());
        }
    }
    let count = operations.len();
    operations.sort();
    operations.dedup();
    assert_eq!(operations.len(), count, "names of operations are unique");
    assert!(count >= 7, "{operations:?}");
}
