//! Following streams and channels.

use std::io::Write as _;

use serde_json::json;

use super::client::{Api, Event};

#[test]
fn a_stream_is_followed_from_now_or_from_an_entry() {
    let api = Api::start(&[]);
    let ids: Vec<String> = (0..3).map(|number| api.append("s", number)).collect();
    let mut now = api.follow("/v1/streams/s/follow", &[]);
    let mut all = api.follow("/v1/streams/s/follow?from=0", &[]);
    let mut from = api.follow(&format!("/v1/streams/s/follow?from={}", ids[1]), &[]);
    let last = format!("Last-Event-ID: {}", ids[1]);
    let mut resumed = api.follow("/v1/streams/s/follow?from=0", &[&last]);
    api.append("s", 3);
    for (events, expected) in
        [(&mut now, &[3][..]), (&mut all, &[0, 1, 2, 3]), (&mut from, &[1, 2, 3]), (&mut resumed, &[2, 3])]
    {
        let seen: Vec<usize> = expected.iter().map(|_| events.next_number()).collect();
        assert_eq!(seen, expected);
    }
}

#[test]
fn who_comes_back_misses_nothing() {
    let api = Api::start(&[]);
    let mut last = String::new();
    let mut expected = 0;
    for round in 0..5 {
        let header = format!("Last-Event-ID: {last}");
        let headers: &[&str] = if round == 0 { &[] } else { &[&header] };
        let mut events = api.follow("/v1/streams/s/follow", headers);
        for number in round * 10..round * 10 + 10 {
            api.append("s", number);
        }
        // Some are read, the others were sent in vain.
        for _ in 0..7 {
            let (_, id, data) = events.next().unwrap();
            assert_eq!(data["fields"]["n"], expected.to_string());
            (last, expected) = (id, expected + 1);
        }
    }
}

#[test]
fn comments_say_that_the_connection_lives() {
    let api = Api::start(&["--http-heartbeat", "0.05"]);
    let mut events = api.follow("/v1/streams/s/follow", &[]);
    assert_eq!(events.next_any(), Some(Event::Comment));
    assert_eq!(events.next_any(), Some(Event::Comment));
    api.append("s", 1);
    assert_eq!(events.next_number(), 1);
}

#[test]
fn a_stream_that_can_not_be_read_any_more_ends_with_an_error() {
    let api = Api::start(&[]);
    api.append("s", 1);
    let mut events = api.follow("/v1/streams/s/follow?from=0", &[]);
    assert_eq!(events.next_number(), 1);
    api.server.ask("SET s text", "+OK\r\n");
    let (name, _, problem) = events.next().unwrap();
    assert_eq!((name.as_str(), &problem["code"]), ("error", &json!("wrongType")));
    assert_eq!(events.next(), None);
}

/// The client takes nothing while more is published than fits: what is dropped is counted, and nobody else is held up.
#[test]
fn a_slow_follower_of_a_channel_is_told_how_many_it_missed() {
    // A million bytes each: more than the buffers of the API and of the largest connection together.
    const PUBLISHED: u64 = 100;
    let api = Api::start(&[]);
    let mut slow = api.follow("/v1/channels/c/follow", &[]);
    // Who publishes goes as fast as this one reads. Faster than the API itself, the broker would close the API's
    // connection, and nobody would know how many were missed.
    let mut quick = api.follow("/v1/channels/c/follow", &[]);
    let mut publisher = std::net::TcpStream::connect(&api.server.address).unwrap();
    let message =
        [b"*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$1000000\r\n", vec![b'x'; 1_000_000].as_slice(), b"\r\n"]
            .concat();
    for _ in 0..PUBLISHED {
        publisher.write_all(&message).unwrap();
        let mut reply = [0; 4];
        std::io::Read::read_exact(&mut publisher, &mut reply).unwrap();
        assert_eq!(&reply, b":2\r\n");
        assert_eq!(quick.next().unwrap().0, "message");
    }
    let (mut seen, mut missed) = (0, 0);
    while seen + missed < PUBLISHED {
        let (name, _, data) = slow.next().unwrap();
        match name.as_str() {
            "missed" => {
                missed += data["missed"].as_u64().unwrap_or_else(|| panic!("it is not known: {data}"));
            }
            _ => seen += 1,
        }
    }
    assert_eq!(seen + missed, PUBLISHED);
    assert!(missed > 0, "{PUBLISHED} MB are more than is kept for a slow follower");
    api.server.ask("PUBLISH c again", ":2\r\n");
    for events in [&mut slow, &mut quick] {
        assert_eq!(events.next().unwrap().2["message"], "again");
    }
}
