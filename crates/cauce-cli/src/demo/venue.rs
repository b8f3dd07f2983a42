//! Where the demo plays: the broker inside this process, or a server outside.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, bail};
use cauce_broker::{Broker, Config, Listener};
use tokio::runtime::Runtime;

use super::events::STREAM;
use crate::client::{Control, Server};

/// The demo's own mark on a server: where it stands, the demo's keys are the demo's to delete.
const MARK: &[u8] = b"cauce:demo";

/// The broker that all parts connect to, without anything of an earlier run.
pub(super) struct Venue {
    url: String,
    server: Server,
    inside: Option<Runtime>,
}

impl Venue {
    /// The server at `url`, or else a broker in this process.
    pub(super) fn open(url: Option<String>) -> anyhow::Result<Self> {
        let (url, inside) = match url {
            Some(url) => (url, None),
            None => {
                let (url, runtime) = broker_inside()?;
                (url, Some(runtime))
            }
        };
        let venue = Self { server: Server::from_url(&url)?, url, inside };
        venue.take_over()?;
        Ok(venue)
    }

    /// What the parts connect to.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// In words.
    pub(super) fn description(&self) -> String {
        let place = if self.inside.is_some() { "inside this process" } else { "a server outside" };
        format!("{place}, at {}", self.url)
    }

    /// Leaves the server as it was found.
    pub(super) fn close(self) -> anyhow::Result<()> {
        let mut control = self.server.control()?;
        delete_keys(&mut control)?;
        control.call(&[b"DEL", MARK])?;
        if let Some(runtime) = self.inside {
            runtime.shutdown_background();
        }
        Ok(())
    }

    /// Deletes what an interrupted run left behind, and nothing of anybody else.
    fn take_over(&self) -> anyhow::Result<()> {
        let mut control = self.server.control()?;
        let is_marked = control.call(&[b"EXISTS", MARK])? == b"1";
        let is_taken = control.call(&[b"EXISTS", STREAM.as_bytes()])? == b"1";
        if is_taken && !is_marked {
            bail!(
                "{} holds a stream '{STREAM}' that is not the demo's; choose another server, or another \
                 database of it (redis://HOST:PORT/N)",
                self.url
            );
        }
        control.call(&[b"SET", MARK, b"running"])?;
        delete_keys(&mut control)
    }
}

/// A broker in memory, listening on a free port of this machine.
fn broker_inside() -> anyhow::Result<(String, Runtime)> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let address = runtime.block_on(async {
        let listener = Listener::tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), false).await?;
        let address = listener.address().context("a TCP listener has an address")?;
        let broker = Broker::in_memory(Config::default());
        tokio::spawn(async move { broker.serve(listener).await });
        anyhow::Ok(address)
    })?;
    Ok((format!("redis://{address}"), runtime))
}

/// Deletes the stream and its companion keys.
fn delete_keys(control: &mut Control) -> anyhow::Result<()> {
    control.call(&[b"DEL", STREAM.as_bytes()])?;
    // The braces are part of the companions' names, and stand for themselves in a pattern.
    let pattern = format!("{{{STREAM}}}:*");
    let mut cursor = b"0".to_vec();
    loop {
        let found = control.call_all(&[b"SCAN", &cursor, b"MATCH", pattern.as_bytes(), b"COUNT", b"1000"])?;
        let (next, keys) = found.split_first().context("SCAN replies with a cursor")?;
        for key in keys {
            control.call(&[b"DEL", key])?;
        }
        cursor.clone_from(next);
        if cursor == b"0" {
            return Ok(());
        }
    }
}
