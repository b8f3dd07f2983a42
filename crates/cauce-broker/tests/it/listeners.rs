use std::net::IpAddr;

use cauce_broker::{BindError, Broker, Config, Listener};
use tokio::net::{TcpStream, UnixStream};

use crate::support::Client;

fn serve(broker: &Broker, listener: Listener) -> tokio::task::JoinHandle<()> {
    let broker = broker.clone();
    tokio::spawn(async move { broker.serve(listener).await })
}

#[tokio::test]
async fn tcp_and_unix_sockets_reach_the_same_data() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("socket");
    let broker = Broker::in_memory(Config::default());
    let tcp = Listener::tcp(([127, 0, 0, 1], 0).into(), false).await.expect("a free port");
    let address = tcp.address().expect("a TCP listener has an address");
    let unix = Listener::unix(&path).expect("a free path");
    let tasks = [serve(&broker, tcp), serve(&broker, unix)];
    let mut a = Client::over(TcpStream::connect(address).await.expect("listening"));
    let mut b = Client::over(UnixStream::connect(&path).await.expect("listening"));
    a.ask("SET k v", "+OK|").await;
    b.ask("GET k", "$1|v|").await;
    Client::new(&broker).ask("GET k", "$1|v|").await;
    for task in tasks {
        task.abort();
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_that_says_what_to_do() {
    let first = Listener::tcp(([127, 0, 0, 1], 0).into(), false).await.expect("a free port");
    let address = first.address().expect("a TCP listener has an address");
    let error = Listener::tcp(address, false).await.expect_err("taken").to_string();
    assert!(error.contains(&address.to_string()) && error.contains("--port"), "{error}");
}

#[tokio::test]
async fn beyond_loopback_a_password_is_required() {
    let everywhere = IpAddr::from([0, 0, 0, 0]);
    let refused = Listener::tcp((everywhere, 0).into(), false).await.expect_err("unprotected");
    assert!(matches!(refused, BindError::Unprotected(_)) && refused.to_string().contains("--requirepass"));
    assert!(Listener::tcp((everywhere, 0).into(), true).await.is_ok());
}

#[tokio::test]
async fn a_stale_socket_is_replaced_a_live_one_is_not() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("socket");
    // Bound and dropped: the file stays behind, as after a crash.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a free path"));
    let live = Listener::unix(&path).expect("a stale socket is replaced");
    assert!(Listener::unix(&path).expect_err("in use").to_string().contains("choose another path"));
    drop(live);
    assert!(!path.exists());
    std::fs::write(&path, "precious").expect("writable");
    assert!(Listener::unix(&path).is_err(), "a file that is no socket is left alone");
    assert_eq!(std::fs::read_to_string(&path).expect("still there"), "precious");
}
