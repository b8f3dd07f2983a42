use cauce_broker::{Broker, Config, Listener, MemoryLog};
use tokio::net::TcpStream;

use crate::support::{Client, until};

#[tokio::test]
async fn a_subscriber_that_never_reads_is_cut_off() {
    let mut config = Config::default();
    config.limits.subscriber_output_bytes_max = 100_000;
    let broker = Broker::in_memory(config);
    let (mut deaf, mut publisher) = (Client::new(&broker), Client::new(&broker));
    deaf.ask("SUBSCRIBE c", "*3|$9|subscribe|$1|c|:1|").await;
    let message = format!("PUBLISH c {}", "x".repeat(10_000));
    // What fits into the pipe and the queue is taken; then the subscriber is gone.
    let mut receivers = Vec::new();
    for _ in 0..30 {
        publisher.send(&message).await;
        publisher.expect(":").await;
        receivers.push(publisher.read_line().await);
    }
    assert_eq!(receivers.first().map(String::as_str), Some("1"));
    until("the subscriber is cut off", || broker.connections() == 1).await;
    publisher.ask("PUBLISH c bye", ":0|").await;
}

#[tokio::test]
async fn a_bulk_over_the_limit_is_refused_before_it_is_sent() {
    let mut config = Config::default();
    config.limits.bulk_bytes_max = 1000;
    let broker = Broker::in_memory(config);
    let mut client = Client::new(&broker);
    client.send_bytes(b"*2\r\n$4\r\nECHO\r\n$1001\r\n").await;
    assert_eq!(client.read_to_end().await, "-ERR Protocol error: invalid bulk length\r\n");
}

#[tokio::test]
async fn a_stranger_cannot_make_the_broker_hold_memory() {
    let mut config = Config::default();
    config.settings.requirepass = "secret".to_owned();
    let broker = Broker::in_memory(config);
    let mut client = Client::new(&broker);
    client.send_bytes(b"*2\r\n$4\r\nECHO\r\n$20000\r\n").await;
    assert_eq!(client.read_to_end().await, "-ERR Protocol error: unauthenticated bulk length\r\n");
    let mut client = Client::new(&broker);
    client.send_bytes(b"*11\r\n").await;
    assert_eq!(client.read_to_end().await, "-ERR Protocol error: unauthenticated multibulk length\r\n");
    let mut client = Client::new(&broker);
    let large = "x".repeat(20_000);
    client.send(&format!("AUTH secret\r\n*2\r\n$4\r\nECHO\r\n$20000\r\n{large}")).await;
    client.expect(&format!("+OK|$20000|{large}|")).await;
}

#[tokio::test]
async fn unread_input_has_a_limit() {
    let mut config = Config::default();
    config.limits.input_bytes_max = 10_000;
    let broker = Broker::in_memory(config);
    let mut client = Client::new(&broker);
    client.send("XREAD BLOCK 0 STREAMS s $").await;
    client.send_until_closed(b"PING\r\n").await;
    assert_eq!(client.read_to_end().await, "");
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let mut config = Config::default();
    config.limits.connections_max = 1;
    let broker = Broker::in_memory(config);
    let listener = Listener::tcp(([127, 0, 0, 1], 0).into(), false).await.expect("a free port");
    let address = listener.address().expect("a TCP listener has an address");
    let serving = tokio::spawn({
        let broker = broker.clone();
        async move { broker.serve(listener).await }
    });
    let mut first = Client::over(TcpStream::connect(address).await.expect("listening"));
    first.ask("PING", "+PONG|").await;
    let mut second = Client::over(TcpStream::connect(address).await.expect("listening"));
    assert_eq!(second.read_to_end().await, "-ERR max number of clients reached\r\n");
    first.send("INFO stats").await;
    drop(first);
    until("the first left", || broker.connections() == 0).await;
    let mut third = Client::over(TcpStream::connect(address).await.expect("listening"));
    third.ask("PING", "+PONG|").await;
    serving.abort();
}

#[tokio::test]
async fn blocked_clients_have_a_limit() {
    let mut config = Config::default();
    config.settings.blocked_clients_max = 1;
    let broker = Broker::in_memory(config);
    let (mut first, mut second) = (Client::new(&broker), Client::new(&broker));
    first.send("XREAD BLOCK 0 STREAMS s $").await;
    first.expect_silence().await;
    second.ask("XREAD BLOCK 0 STREAMS s $", "-ERR too many blocked clients; raise the broker's limit of blocked clients, or read without BLOCK|").await;
    second.ask("XADD s 1-1 f v", "$3|1-1|").await;
    first.expect("*1|*2|$1|s|*1|*2|$3|1-1|*2|$1|f|$1|v|").await;
}

#[tokio::test]
async fn a_held_log_holds_the_output_limit_too() {
    let mut config = Config::default();
    config.limits.output_bytes_max = 1000;
    let log = std::sync::Arc::new(MemoryLog::new());
    log.hold();
    let broker = Broker::with_memory_log(config, log);
    let mut client = Client::new(&broker);
    client.send(&format!("SET a {}\r\n{}", "x".repeat(900), "GET a\r\n".repeat(3))).await;
    assert_eq!(client.read_to_end().await, "");
}

#[tokio::test]
async fn a_burst_of_connections_does_not_slip_past_the_limit() {
    let mut config = Config::default();
    config.limits.connections_max = 2;
    let broker = Broker::in_memory(config);
    let listener = Listener::tcp(([127, 0, 0, 1], 0).into(), false).await.expect("a free port");
    let address = listener.address().expect("a TCP listener has an address");
    // All are waiting to be accepted before the first one is.
    let mut burst = Vec::new();
    for _ in 0..5 {
        burst.push(std::net::TcpStream::connect(address).expect("the backlog has room"));
    }
    let serving = tokio::spawn({
        let broker = broker.clone();
        async move { broker.serve(listener).await }
    });
    let mut refused = 0;
    for stream in burst.split_off(2) {
        stream.set_nonblocking(true).expect("a socket");
        let mut late = Client::over(TcpStream::from_std(stream).expect("a runtime"));
        refused += usize::from(late.read_to_end().await == "-ERR max number of clients reached\r\n");
    }
    assert_eq!((refused, broker.connections()), (3, 2));
    serving.abort();
}
