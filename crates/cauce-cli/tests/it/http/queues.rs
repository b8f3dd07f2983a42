//! Queues over HTTP.

use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::{Answer, Api, request};

const JOBS: &str = "/v1/queues/jobs";

impl Api {
    fn change(&self, path: &str, body: &Value) -> Answer {
        self.ask("PATCH", path, &["Content-Type: application/json"], &body.to_string())
    }

    fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, &[], "")
    }

    fn send(&self, message: &str) -> String {
        let answer = self.post(&format!("{JOBS}/messages"), &json!({"message": message}));
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// The messages that a POST without a body brings.
    fn take(&self, path: &str) -> Vec<Value> {
        let answer = self.ask("POST", path, &[], "");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["messages"].as_array().unwrap().clone()
    }
}

fn with_jobs(settings: &Value) -> Api {
    let api = Api::start(&[]);
    let mut body = json!({"name": "jobs"});
    body.as_object_mut().unwrap().append(&mut settings.as_object().unwrap().clone());
    let answer = api.post("/v1/queues", &body);
    assert_eq!((answer.status, answer.json()), (201, json!({"name": "jobs"})));
    api
}

fn texts(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["message"].as_str().unwrap()).collect()
}

#[test]
fn queues_are_made_listed_changed_and_deleted() {
    let api = with_jobs(&json!({"vt": 60, "maxsize": 2048}));
    api.post("/v1/queues", &json!({"name": "jobs"})).is_problem(409, "queueExists", "exists already");
    api.post("/v1/queues", &json!({"name": "a"}));
    assert_eq!(api.get("/v1/queues").json(), json!({"queues": ["a", "jobs"]}));
    // What other RSMQ clients read.
    api.server.ask("HMGET rsmq:jobs:Q vt delay maxsize", "*3\r\n$2\r\n60\r\n$1\r\n0\r\n$4\r\n2048\r\n");
    let shown = api.get(JOBS).json();
    let (created, modified) = (shown["created"].clone(), shown["modified"].clone());
    assert!(created.as_u64().unwrap() > 1_700_000_000);
    let mut expected = json!({
        "vt": 60, "delay": 0, "maxsize": 2048, "totalrecv": 0, "totalsent": 0, "created": created, "modified": modified,
        "msgs": 0, "hiddenmsgs": 0,
    });
    assert_eq!(shown, expected);
    let changed = api.change(JOBS, &json!({"delay": 5, "maxsize": -1})).json();
    expected["delay"] = json!(5);
    expected["maxsize"] = json!(-1);
    expected["modified"] = changed["modified"].clone();
    assert_eq!(changed, expected);
    assert_eq!(api.delete(JOBS).status, 204);
    api.delete(JOBS).is_problem(404, "queueNotFound", "create it first");
    assert_eq!(api.get("/v1/queues").json(), json!({"queues": ["a"]}));
}

#[test]
fn a_message_is_sent_received_hidden_and_deleted() {
    let api = with_jobs(&json!({}));
    let id = api.send("rebook UA 1");
    let messages = api.take(&format!("{JOBS}/receive"));
    let message = &messages[0];
    assert_eq!(
        (&message["id"], &message["message"], &message["rc"]),
        (&json!(id), &json!("rebook UA 1"), &json!(1))
    );
    let (sent, first) = (message["sent"].as_u64().unwrap(), message["fr"].as_u64().unwrap());
    assert!(sent > 1_700_000_000_000 && first >= sent, "{message}");
    assert_eq!(api.take(&format!("{JOBS}/receive")), [Value::Null; 0], "it is hidden");
    assert_eq!(api.change(&format!("{JOBS}/messages/{id}"), &json!({"vt": 0})).status, 204);
    assert_eq!(api.take(&format!("{JOBS}/receive?vt=0"))[0]["rc"], 2);
    let attributes = api.get(JOBS).json();
    assert_eq!(
        (&attributes["totalsent"], &attributes["totalrecv"], &attributes["msgs"]),
        (&json!(1), &json!(2), &json!(1))
    );
    let path = format!("{JOBS}/messages/{id}");
    assert_eq!(api.delete(&path).status, 204);
    api.delete(&path).is_problem(404, "messageNotFound", "deleted or popped before");
    api.change(&path, &json!({"vt": 1})).is_problem(404, "messageNotFound", "");
}

#[test]
fn many_messages_are_sent_and_taken_at_once() {
    let api = with_jobs(&json!({}));
    let batch = |messages: &[&str], delay: Option<u64>| {
        let mut body = json!({"messages": messages});
        if let Some(delay) = delay {
            body["delay"] = json!(delay);
        }
        api.post(&format!("{JOBS}/messages/batch"), &body)
    };
    let answer = batch(&["a", "b", "c", "d"], None);
    assert_eq!((answer.status, answer.json()["ids"].as_array().unwrap().len()), (201, 4));
    assert_eq!(batch(&["later"], Some(60)).status, 201);
    assert_eq!(texts(&api.take(&format!("{JOBS}/pop"))), ["a"]);
    assert_eq!(texts(&api.take(&format!("{JOBS}/receive?count=2"))), ["b", "c"]);
    assert_eq!(texts(&api.take(&format!("{JOBS}/pop?count=256"))), ["d"]);
    let attributes = api.get(JOBS).json();
    assert_eq!((&attributes["msgs"], &attributes["hiddenmsgs"]), (&json!(3), &json!(3)));
    batch(&[], None).is_problem(400, "invalidValue", "messages must be between 1 and 256");
    batch(&[""; 257], None).is_problem(400, "invalidValue", "messages must be between 1 and 256");
    let long = "x".repeat(65_537);
    batch(&["short", &long], None).is_problem(
        413,
        "messageTooLong",
        "0 of 2 messages were sent, then: the message is too long",
    );
}

#[test]
fn who_waits_gets_a_message_as_soon_as_it_is_sent() {
    let api = with_jobs(&json!({}));
    let began = Instant::now();
    assert_eq!(api.take(&format!("{JOBS}/receive?wait=0.2")), [Value::Null; 0]);
    assert!(began.elapsed() >= Duration::from_millis(200));
    let waiting = || {
        let mut stream = api.connect();
        let path = format!("{JOBS}/receive?wait=20&vt=3600");
        stream.write_all(request(&api.address, "POST", &path, &[], "").as_bytes()).unwrap();
        stream
    };
    // Who goes away takes nothing with it.
    drop(waiting());
    let stream = waiting();
    let began = Instant::now();
    let id = api.send("a");
    let answer = Answer::read(stream).json();
    assert_eq!(answer["messages"][0]["message"], "a");
    assert!(began.elapsed() < Duration::from_secs(10), "it does not wait for the end");
    // The visibility timeout is the request's: the score is when the message is visible again.
    let now = answer["messages"][0]["fr"].as_u64().unwrap();
    let mut scored = std::net::TcpStream::connect(&api.server.address).unwrap();
    scored.write_all(format!("ZSCORE rsmq:jobs {id}\r\n").as_bytes()).unwrap();
    let mut reply = String::new();
    for _ in 0..2 {
        reply.clear();
        std::io::BufRead::read_line(&mut std::io::BufReader::with_capacity(1, &scored), &mut reply).unwrap();
    }
    let hidden_ms = reply.trim().parse::<u64>().unwrap() - now;
    assert!((3_590_000..=3_610_000).contains(&hidden_ms), "{hidden_ms}");
}

#[test]
fn sigterm_ends_a_wait_with_no_messages() {
    let mut api = with_jobs(&json!({}));
    let mut stream = api.connect();
    let path = format!("{JOBS}/receive?wait=20");
    stream.write_all(request(&api.address, "POST", &path, &[], "").as_bytes()).unwrap();
    // Answered after the request before it was taken up.
    assert_eq!(api.get("/health").status, 200);
    api.terminate();
    assert_eq!(Answer::read(stream).json(), json!({"messages": []}));
    assert_eq!(api.server.process.wait().unwrap().code(), Some(0));
}

#[test]
fn what_is_wrong_has_rsmqs_names() {
    let api = with_jobs(&json!({}));
    let create = |body: Value| api.post("/v1/queues", &body);
    create(json!({"name": ""})).is_problem(400, "missingParameter", "no qname supplied");
    create(json!({"name": "two words"})).is_problem(400, "invalidFormat", "invalid qname format");
    create(json!({"name": "q".repeat(161)})).is_problem(400, "invalidFormat", "1 to 160");
    create(json!({"name": "QUEUES"})).is_problem(400, "reservedName", "reserved");
    create(json!({"name": "q", "vt": 10_000_000})).is_problem(
        400,
        "invalidValue",
        "vt must be between 0 and 9999999",
    );
    create(json!({"name": "q", "maxsize": 1023})).is_problem(
        400,
        "invalidValue",
        "maxsize must be between 1024 and 65536",
    );
    create(json!({"name": "q", "maxsize": 5_000_000_000_u64})).is_problem(400, "invalidValue", "maxsize");
    create(json!({"name": "q", "vt": -1})).is_problem(400, "invalidBody", "invalid value: integer `-1`");
    create(json!({"name": "q", "tv": 1})).is_problem(400, "invalidBody", "unknown field `tv`");
    api.change(JOBS, &json!({})).is_problem(400, "noAttributeSupplied", "vt, delay or maxsize");
    let send = |queue: &str, body: Value| api.post(&format!("/v1/queues/{queue}/messages"), &body);
    send("none", json!({"message": "x"})).is_problem(404, "queueNotFound", "`none`");
    send("jobs", json!({"message": "x".repeat(65_537)})).is_problem(413, "messageTooLong", "maxsize");
    send("jobs", json!({"message": 7})).is_problem(400, "invalidBody", "expected a string");
    send("jobs", json!({"message": "x", "delay": 10_000_000})).is_problem(
        400,
        "invalidValue",
        "delay must be",
    );
    for path in ["receive?wait=61", "receive?wait=-1", "receive?wait=NaN", "receive?count=0", "pop?count=257"]
    {
        api.ask("POST", &format!("{JOBS}/{path}"), &[], "").is_problem(
            400,
            "invalidValue",
            "must be between",
        );
    }
    api.ask("POST", "/v1/queues/none/receive?wait=1", &[], "").is_problem(404, "queueNotFound", "");
    api.delete(&format!("{JOBS}/messages/short")).is_problem(400, "invalidFormat", "invalid id format");
}
