//! The tools on a broker: what they do, what they print, and their exit codes.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::serve::Server;

/// Runs `cauce` with these words against the server: its exit code and what it says.
fn cauce(server: &Server, words: &str, input: &str) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cauce"));
    command.args(words.split(' ')).args(["--url", &format!("redis://{}", server.address)]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap().trim_end().to_owned())
}

/// What it says in JSON, line by line.
fn values(server: &Server, words: &str) -> Vec<Value> {
    let (code, text) = cauce(server, &format!("{words} --json"), "");
    assert_eq!(code, 0, "{words}: {text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn queues_from_the_command_line() {
    let server = Server::start(&[]);
    let check = |words: &str, code: i32, expected: &str| {
        assert_eq!(cauce(&server, words, ""), (code, expected.to_owned()), "{words}");
    };
    check("queue create jobs --vt 20 --maxsize 2048", 0, "create jobs: done");
    check("queue create jobs", 1, "cauce: the queue `jobs` exists already: it was not changed");
    check("queue create other --ns {x}", 0, "create other: done");
    let attributes = values(&server, "queue attrs jobs --delay 0").remove(0);
    assert_eq!(
        (&attributes["vt"], &attributes["maxsize"], &attributes["msgs"]),
        (&json!(20), &json!(2048), &json!(0))
    );

    let (code, ids) = cauce(&server, "queue send jobs", "one\ntwo\nthree\n");
    let ids: Vec<_> = ids.lines().collect();
    assert_eq!((code, ids.len()), (0, 3));
    check("queue receive jobs --vt 0", 0, &format!("{}  1  one", ids[0]));
    check("queue receive jobs --wait 5", 0, &format!("{}  1  two", ids[1]));
    check(&format!("queue delete jobs {}", ids[0]), 0, &format!("delete {}: done", ids[0]));
    check(&format!("queue delete jobs {}", ids[0]), 1, &format!("delete {}: not there", ids[0]));
    check("queue delete jobs short", 2, &cauce(&server, "queue delete jobs short", "").1);
    check(&format!("queue visibility jobs {} 100", ids[1]), 0, &format!("visibility of {}: done", ids[1]));
    check("queue create more", 0, "create more: done");
    check(&format!("queue move jobs {} more", ids[1]), 0, &format!("move {} to more: done", ids[1]));
    let popped = values(&server, "queue pop jobs --count 5");
    assert_eq!((popped.len(), &popped[0]["message"], &popped[0]["rc"]), (1, &json!("three"), &json!(1)));
    check("queue pop jobs", 1, "");
    // Else it counted as hidden until the second of its moving is over.
    check(&format!("queue visibility more {} 100", ids[1]), 0, &format!("visibility of {}: done", ids[1]));
    check(
        "queue ls",
        0,
        "queue  messages  hidden  sent  received  vt  delay\n\
         jobs          0       0     3         3  20      0\n\
         more          1       1     1         0  30      0",
    );
    check("queue rm jobs", 0, "delete jobs: done");
    check(
        "queue rm jobs",
        1,
        "cauce: the queue `jobs` is not found: create it first, and check the namespace",
    );
}

#[test]
fn dead_letters_of_a_queue_are_shown_and_redriven() {
    let server = Server::start(&[]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let id = runtime.block_on(async {
        let bus = cauce::Bus::connect(&format!("redis://{}", server.address)).await.unwrap();
        let queue = bus.queues().create("jobs", &cauce::QueueOptions::new()).await.unwrap();
        let id = queue.send(&"poison".to_owned()).await.unwrap();
        let rejects = async |_: String| Err::<(), _>(cauce::HandlerError::reject("no such job"));
        let running = cauce::Worker::new(&queue).on(rejects).start().await.unwrap();
        while running.report().dead == 0 {
            tokio::task::yield_now().await;
        }
        running.stop().await;
        id
    });
    let letter = values(&server, "queue dead jobs").remove(0);
    let shown = ["message", "reason", "error", "attempts", "queue"].map(|name| letter[name].clone());
    assert_eq!(json!(shown), json!(["poison", "rejected", "no such job", 1, "jobs"]));
    let expected = format!("{id}  rejected after 1 attempts: no such job\n    poison");
    assert_eq!(cauce(&server, "queue dead jobs", ""), (0, expected));
    let redriven = format!("redrive {id} to jobs: done");
    assert_eq!(cauce(&server, "queue dead jobs --redrive all", ""), (0, redriven));
    assert_eq!(values(&server, "queue dead jobs"), Vec::<Value>::new());
    assert_eq!(values(&server, "queue pop jobs")[0]["rc"], json!(1));
}

#[test]
fn streams_groups_and_channels_from_the_command_line() {
    let server = Server::start(&[]);
    let id = values(&server, "stream send orders action=order.created n=1").remove(0)["id"].clone();
    let entry = values(&server, "stream receive orders").remove(0);
    assert_eq!(entry, json!({ "id": id, "fields": { "action": "order.created", "n": "1" } }));
    let listed = values(&server, "stream ls").remove(0);
    assert_eq!((&listed["name"], &listed["length"], &listed["lastId"]), (&json!("orders"), &json!(1), &id));
    assert_eq!(values(&server, "stream attrs orders")[0]["groups"], json!(0));
    let none = "cauce: there is no stream `nosuch`".to_owned();
    assert_eq!(cauce(&server, "stream attrs nosuch", ""), (1, none));

    server.ask("XGROUP CREATE orders desk 0", "+OK\r\n");
    let group = values(&server, "group ls orders").remove(0);
    assert_eq!((&group["name"], &group["lag"], &group["pending"]), (&json!("desk"), &json!(1), &json!(0)));
    let header = "consumer  pending  idle s".to_owned();
    assert_eq!(cauce(&server, "group consumers orders desk", ""), (0, header));
    assert_eq!(values(&server, "group pending orders desk"), Vec::<Value>::new());

    assert_eq!(cauce(&server, "channel send gates closed", ""), (0, "0 received it".to_owned()));
    assert_eq!(cauce(&server, "channel receive gates --wait 0.05", ""), (0, String::new()));
}
