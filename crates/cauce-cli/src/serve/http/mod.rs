//! The HTTP API of `cauce serve`: queues, streams and channels for programs that have no Redis client.
//!
//! It is a client of its own broker, over loopback and with the broker's password, and runs on a thread of its own: reading and writing JSON
//! does not hold up the broker. What it serves is described by the document at `/v1/openapi.json`, which is made from the code of the routes.

mod access;
mod api;
mod app;
mod args;
mod channels;
mod extract;
mod follow;
mod messages;
mod patience;
mod problem;
mod queues;
mod server;
mod streams;
mod text;

pub(crate) use self::args::HttpArgs;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::{Context, anyhow};
use cauce::Bus;
use tokio::sync::{oneshot, watch};

use self::app::App;

/// How long to wait before the broker is asked again while it starts.
const CONNECT_AGAIN: Duration = Duration::from_millis(100);

/// A running HTTP API.
#[derive(Debug)]
pub(crate) struct Http {
    address: SocketAddr,
    stopping: watch::Sender<bool>,
    ended: oneshot::Receiver<()>,
}

impl Http {
    /// Listens and begins to serve, if the options say so. Requests wait until the broker at `broker` answers.
    ///
    /// # Errors
    /// If that would not be safe, or the address can't be listened on.
    pub(crate) fn start(args: HttpArgs, broker: SocketAddr, password: &str) -> anyhow::Result<Option<Self>> {
        let Some(address) = args.address(!password.is_empty())? else { return Ok(None) };
        let listener = TcpListener::bind(address).with_context(|| {
            format!("cannot serve HTTP on {address}; is another server running there? Choose another address with --http")
        })?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let url = broker_url(broker, password);
        let (stopping, stop) = watch::channel(false);
        let (end, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("http".to_owned()).spawn(move || {
            runtime.block_on(async {
                let app = App::new(args, stop);
                let connecting = tokio::spawn(connect(app.clone(), url));
                server::run(listener, &app).await;
                connecting.abort();
            });
            // Nobody may be waiting for it any more.
            let _ = end.send(());
        })?;
        Ok(Some(Self { address, stopping, ended }))
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends what follows and waits, finishes the requests that are being served, and returns when that is done or has taken too long.
    ///
    /// # Errors
    /// If its thread had died before.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.stopping.send_replace(true);
        self.ended.await.map_err(|_| anyhow!("the HTTP API had ended before; this is a bug in cauce"))
    }
}

async fn connect(app: App, url: String) {
    loop {
        match Bus::connect(&url).await {
            Ok(bus) => return app.connected(bus),
            Err(_) => tokio::time::sleep(CONNECT_AGAIN).await,
        }
    }
}

/// The broker from inside this machine: an address that means all interfaces is reached through loopback.
fn broker_url(address: SocketAddr, password: &str) -> String {
    let ip = match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        _ => address.ip(),
    };
    let login = match password {
        "" => String::new(),
        _ => {
            password.bytes().map(|byte| format!("%{byte:02x}")).fold(":".to_owned(), |all, one| all + &one)
                + "@"
        }
    };
    format!("redis://{login}{}", SocketAddr::new(ip, address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broker_is_reached_from_inside() {
        let check = |address: &str, password, expected| {
            assert_eq!(broker_url(address.parse().unwrap(), password), expected);
        };
        check("127.0.0.1:6379", "", "redis://127.0.0.1:6379");
        check("0.0.0.0:1", "a@ä", "redis://:%61%40%c3%a4@127.0.0.1:1");
        check("[::]:1", "", "redis://[::1]:1");
        check("10.0.0.7:1", "", "redis://10.0.0.7:1");
    }
}
