//! Connecting and publishing.

use cauce::{Bus, CommandError, Durability, EntryId, Metadata, PublishError};

use crate::support::{Cancelled, Departed, Server, connect, free_port, on_every_target};

on_every_target!(entries_are_plain_fields, many_events_keep_their_order, a_refusal_is_an_error);

async fn entries_are_plain_fields(url: &str) {
    let bus = connect(url).await.with_source("desk");
    let metadata = Metadata::new().id("1").traceparent("00-ab-cd-01");
    let first = bus.publish_with(&Cancelled::numbered(7), &metadata).await.unwrap();
    let second = bus.publish(&Departed { flight: "UA 8".to_owned(), minutes_late: -3 }).await.unwrap();
    assert!(second > first);
    assert!(first > EntryId::ZERO);
}

async fn many_events_keep_their_order(url: &str) {
    let bus = connect(url).await;
    let ids = bus.publish_all(&Cancelled::series(1_200)).await.unwrap();
    assert_eq!(ids.len(), 1_200);
    assert!(ids.is_sorted());
}

async fn a_refusal_is_an_error(url: &str) {
    let bus = connect(url).await;
    let error = connect(url).await.channel("x").publish(&"text".to_owned()).await;
    assert_eq!(error.unwrap(), 0);
    drop(bus);
}

#[tokio::test]
async fn the_fields_on_the_wire_are_readable_by_any_client() {
    let server = Server::start();
    let bus = connect(&server.url()).await.with_source("desk");
    let metadata = Metadata::new().id("1").traceparent("00-ab-cd-01").time(std::time::UNIX_EPOCH);
    bus.publish_with(&Cancelled::numbered(7), &metadata).await.unwrap();
    let departed = Departed { flight: "UA 8".to_owned(), minutes_late: -3 };
    bus.publish_with(&departed, &metadata.id("2")).await.unwrap();
    let shown = server.cli(&["XRANGE", "flights", "-", "+"]);
    let lines: Vec<&str> = shown.lines().collect();
    let common =
        |id| ["id", id, "time", "1970-01-01T00:00:00.000Z", "source", "desk", "traceparent", "00-ab-cd-01"];
    let json = ["content-type", "application/json", "data", r#"{"flight":"UA 7","passengers":7}"#];
    assert_eq!(lines[1..15], [&["action", "flight.cancelled"][..], &common("1"), &json].concat());
    let flat = ["flight", "UA 8", "minutes_late", "-3"];
    assert_eq!(lines[16..], [&["action", "flight.departed"][..], &common("2"), &flat].concat());
}

#[tokio::test]
async fn a_key_of_another_type_is_refused_with_redis_words() {
    let server = Server::start();
    server.cli(&["SET", "flights", "x"]);
    let bus = connect(&server.url()).await;
    let error = bus.publish(&Cancelled::numbered(1)).await.unwrap_err();
    assert!(
        matches!(&error, PublishError::Command(CommandError::Refused { code, .. }) if code == "WRONGTYPE"),
        "{error:?}"
    );
    let expected = "the broker answered: WRONGTYPE Operation against a key holding the wrong kind of value";
    assert!(error.to_string().contains(expected), "{error}");
    let error = bus.publish_all(&Cancelled::series(3)).await.unwrap_err();
    assert!(error.to_string().starts_with("0 of 3 events were confirmed, then:"), "{error}");
}

#[tokio::test]
async fn an_unreachable_server_is_named_with_what_to_check() {
    let port = free_port();
    let error = Bus::connect(&format!("redis://:secret@127.0.0.1:{port}")).await.unwrap_err().to_string();
    let expected = format!("no broker answers at redis://127.0.0.1:{port}: Connection refused");
    assert!(error.starts_with(&expected), "{error}");
    assert!(error.ends_with("check that it runs and that the address is right"), "{error}");
}

#[tokio::test]
async fn a_wrong_scheme_is_answered_with_the_right_ones() {
    let error = Bus::connect("amqp://localhost").await.unwrap_err().to_string();
    assert!(error.starts_with("`amqp` is not a scheme that Cauce knows: use redis://HOST:PORT"), "{error}");
}

#[tokio::test]
async fn a_password_is_asked_for_and_not_shown() {
    let server = Server::with(&["--requirepass", "right"]);
    let url = server.url();
    let wrong = url.replace("//", "//:wrong@");
    let error = Bus::connect(&wrong).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("the broker at {url} refuses the connection")), "{error}");
    assert!(!error.contains("wrong@"), "{error}");
    connect(&url.replace("//", "//:right@")).await;
}

#[tokio::test]
async fn unix_sockets_work_alike() {
    let server = Server::start();
    let bus = connect(&server.socket_url()).await;
    bus.publish(&Cancelled::numbered(1)).await.unwrap();
    assert_eq!(server.cli(&["XLEN", "flights"]), "1");
}

#[tokio::test]
async fn the_bus_says_how_durable_the_broker_is() {
    let check = async |server: Server, expected: Durability| {
        let info = connect(&server.url()).await.broker().await.unwrap();
        assert_eq!((info.server.as_str(), info.durability), ("redis", expected));
        assert!(info.version.contains('.'), "{info:?}");
    };
    check(Server::start(), Durability::Memory).await;
    check(Server::durable(), Durability::Always).await;
    check(Server::with(&["--appendonly", "no", "--save", "3600 1"]), Durability::Snapshots).await;
    check(Server::with(&["--appendonly", "yes", "--appendfsync", "everysec"]), Durability::EverySecond).await;
}
