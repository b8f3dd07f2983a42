//! Brokers behind a port that can be killed and started again with what is on their disks: redis-server, and ours.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread::JoinHandle;

use cauce_broker::{Broker, ClockSource, Config, Listener};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::server::{Server, cli, free_port};

/// Which broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Redis,
    Cauce,
}

pub(crate) const KINDS: [Kind; 2] = [Kind::Redis, Kind::Cauce];

/// A broker whose confirmed writes are on disk.
pub(crate) enum Target {
    Redis(Server),
    Cauce(Ours),
}

/// Our broker on a thread of its own, as `cauce serve` runs it.
pub(crate) struct Ours {
    port: u16,
    directory: TempDir,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Target {
    pub(crate) fn start(kind: Kind) -> Self {
        match kind {
            Kind::Redis => Self::Redis(Server::durable()),
            Kind::Cauce => Self::Cauce(Ours::start()),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Redis(server) => server.port(),
            Self::Cauce(ours) => ours.port,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port())
    }

    /// What any client says to it, by redis-cli.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        cli(self.port(), arguments)
    }

    /// In the middle of everything; what was confirmed stays on disk.
    pub(crate) fn kill(&mut self) {
        match self {
            Self::Redis(server) => server.kill(),
            Self::Cauce(ours) => ours.kill(),
        }
    }

    pub(crate) fn start_again(&mut self) {
        match self {
            Self::Redis(server) => server.start_again(),
            Self::Cauce(ours) => ours.run(),
        }
    }
}

impl Ours {
    fn start() -> Self {
        let mut ours = Self { port: free_port(), directory: TempDir::new().unwrap(), running: None };
        ours.run();
        ours
    }

    fn run(&mut self) {
        let (port, directory) = (self.port, self.directory.path().to_owned());
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut config = Config::default();
                config.clock = ClockSource::System;
                let (broker, _) = Broker::open(&directory, config).unwrap();
                let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                let listener = Listener::tcp(address, false).await.unwrap();
                ready.send(()).unwrap();
                tokio::select! {
                    () = broker.serve(listener) => {}
                    _ = stopped => {}
                }
            });
            // All connections end where they are.
        });
        is_ready.recv().unwrap();
        self.running = Some((stop, thread));
    }

    fn kill(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            let _ = stop.send(());
            thread.join().unwrap();
        }
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.kill();
    }
}
