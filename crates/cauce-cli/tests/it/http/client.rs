//! A server with its HTTP API, and the smallest HTTP client that can ask it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::serve::Server;

/// Nothing that a test waits for takes this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running `cauce serve --memory --port 0 --http 127.0.0.1:0 ...`; killed when dropped.
pub(super) struct Api {
    pub(super) server: Server,
    pub(super) address: String,
}

impl Api {
    pub(super) fn start(arguments: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", arguments, None)
    }

    pub(super) fn start_at(http: &str, arguments: &[&str], token: Option<&str>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cauce"));
        command
            .args(["serve", "--memory", "--port", "0", "--http", http])
            .args(arguments)
            .stdout(Stdio::piped());
        if let Some(token) = token {
            command.env("CAUCE_HTTP_TOKEN", token);
        }
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.as_mut().unwrap()).lines().map(Result::unwrap);
        let mut after = |before: &str| {
            let line = lines.next().unwrap();
            line.split_once(before).unwrap().1.split_once(',').unwrap().0.to_owned()
        };
        let (address, http) = (after("serving on "), after("HTTP API on http://"));
        drop(lines);
        Self { server: Server { process, address }, address: http }
    }

    pub(super) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends a request and reads the answer.
    pub(super) fn ask(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
        let mut stream = self.connect();
        stream.write_all(request(&self.address, method, path, headers, body).as_bytes()).unwrap();
        Answer::read(stream)
    }

    pub(super) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "")
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, &["Content-Type: application/json"], &body.to_string())
    }

    /// Appends an entry with a number; returns its id.
    pub(super) fn append(&self, stream: &str, number: usize) -> String {
        let answer = self
            .post(&format!("/v1/streams/{stream}/entries"), &json!({"fields": {"n": number.to_string()}}));
        assert_eq!(answer.status, 201);
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    pub(super) fn follow(&self, path: &str, headers: &[&str]) -> Events {
        let mut stream = self.connect();
        stream.write_all(request(&self.address, "GET", path, headers, "").as_bytes()).unwrap();
        Events::read(stream)
    }

    pub(super) fn terminate(&self) {
        let pid = self.server.process.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
    }
}

pub(super) fn request(host: &str, method: &str, path: &str, headers: &[&str], body: &str) -> String {
    let host = match headers.iter().any(|header| header.starts_with("Host:")) {
        true => String::new(),
        false => format!("Host: {host}\r\n"),
    };
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\n{host}Connection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
}

/// An answer to a request.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn read(stream: TcpStream) -> Self {
        let mut reader = BufReader::new(stream);
        let (status, head) = read_head(&mut reader);
        let mut body = String::new();
        reader.read_to_string(&mut body).unwrap();
        Self { status, head, body }
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// That it is a problem of this status and code, which says what to do.
    #[track_caller]
    pub(super) fn is_problem(&self, status: u16, code: &str, detail: &str) {
        assert!(self.head.contains("content-type: application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!((self.status, problem["code"].as_str().unwrap()), (status, code), "{self:?}");
        assert_eq!(problem["status"], status);
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{self:?}");
    }
}

fn read_head(reader: &mut impl BufRead) -> (u16, String) {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "the answer ends early: {head:?}");
    }
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head)
}

/// Server-Sent Events, as they come.
pub(super) struct Events {
    reader: BufReader<TcpStream>,
    text: String,
}

/// One event: what stands in its lines.
#[derive(Debug, PartialEq)]
pub(super) enum Event {
    Comment,
    /// Name, id and data.
    Data(String, String, Value),
}

impl Events {
    pub(super) fn read(stream: TcpStream) -> Self {
        let mut reader = BufReader::new(stream);
        let (status, head) = read_head(&mut reader);
        assert!(status == 200 && head.contains("content-type: text/event-stream"), "{head}");
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        Self { reader, text: String::new() }
    }

    /// The next event or comment; none when the answer has ended in order.
    pub(super) fn next_any(&mut self) -> Option<Event> {
        while !self.text.contains("\n\n") {
            let mut size = String::new();
            self.reader.read_line(&mut size).unwrap();
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            self.reader.read_exact(&mut chunk).unwrap();
            if size == 0 {
                return None;
            }
            self.text.push_str(std::str::from_utf8(&chunk[..size]).unwrap());
        }
        let (event, rest) = self.text.split_once("\n\n").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        self.text = rest;
        let line = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        Some(match line("data") {
            Some(data) => Event::Data(
                line("event").unwrap_or("message").to_owned(),
                line("id").unwrap_or_default().to_owned(),
                serde_json::from_str(data).unwrap(),
            ),
            None => Event::Comment,
        })
    }

    /// The next event that is no comment.
    pub(super) fn next(&mut self) -> Option<(String, String, Value)> {
        loop {
            match self.next_any()? {
                Event::Data(name, id, data) => return Some((name, id, data)),
                Event::Comment => {}
            }
        }
    }

    /// The number of the next entry, as [`Api::append`] wrote it.
    pub(super) fn next_number(&mut self) -> usize {
        let (_, id, data) = self.next().unwrap();
        assert_eq!(data["id"], id);
        data["fields"]["n"].as_str().unwrap().parse().unwrap()
    }
}
