//! The servers that faults are put to: redis-server, and this repository's broker on a runtime and a clock of its own.

use std::time::Duration;

use crate::support::Server;

/// A server that keeps what it confirmed, and can be killed.
pub(crate) enum Target {
    Redis(Server),
    Embedded(embedded::Embedded),
}

impl Target {
    pub(crate) fn redis() -> Self {
        Self::Redis(Server::durable())
    }

    pub(crate) fn embedded() -> Self {
        Self::Embedded(embedded::Embedded::start())
    }

    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Redis(server) => server.port(),
            Self::Embedded(broker) => broker.port,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port())
    }

    /// As `kill -9` would, and started again on what is on its disk.
    pub(crate) fn kill_and_restart(&mut self) {
        match self {
            Self::Redis(server) => {
                server.kill();
                server.start_again();
            }
            Self::Embedded(broker) => {
                broker.kill();
                broker.start_again();
            }
        }
    }

    /// The broker's clock jumps forward; its clients' stay. Not with redis-server, which has the system's clock.
    pub(crate) fn jump(&self, length: Duration) {
        match self {
            Self::Redis(_) => panic!("the clock of redis-server is the system's"),
            Self::Embedded(broker) => broker.jump(length),
        }
    }
}

mod embedded {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::path::Path;
    use std::time::{Duration, Instant};

    use cauce_broker::{Broker, Config, Listener};
    use tempfile::TempDir;
    use tokio::sync::mpsc;

    use crate::support::free_port;

    /// A broker on a directory, served on a port by a thread with a runtime of its own.
    pub(crate) struct Embedded {
        pub(crate) port: u16,
        directory: TempDir,
        /// What the thread is to do: jump by so much. It ends when this is dropped.
        orders: Option<mpsc::UnboundedSender<Duration>>,
        thread: Option<std::thread::JoinHandle<()>>,
    }

    impl Embedded {
        pub(crate) fn start() -> Self {
            let directory = TempDir::new().unwrap();
            let mut broker = Self { port: free_port(), directory, orders: None, thread: None };
            broker.start_again();
            broker
        }

        pub(crate) fn start_again(&mut self) {
            let (orders, mut ordered) = mpsc::unbounded_channel::<Duration>();
            let (ready, is_ready) = std::sync::mpsc::channel();
            let (port, path) = (self.port, self.directory.path().to_owned());
            let thread = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let broker = open(&path);
                    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                    let listener = Listener::tcp(address, false).await.unwrap();
                    ready.send(()).unwrap();
                    let jumps = async {
                        while let Some(length) = ordered.recv().await {
                            // The clock goes on afterwards.
                            tokio::time::pause();
                            tokio::time::advance(length).await;
                            tokio::time::resume();
                        }
                    };
                    tokio::select! {
                        () = broker.serve(listener) => {}
                        () = jumps => {}
                    }
                });
                // Its connections are cut in the middle of whatever they do, as the end of the process would.
                runtime.shutdown_background();
            });
            is_ready.recv().unwrap();
            (self.orders, self.thread) = (Some(orders), Some(thread));
        }

        pub(crate) fn kill(&mut self) {
            self.orders = None;
            if let Some(thread) = self.thread.take() {
                thread.join().unwrap();
            }
        }

        pub(crate) fn jump(&self, length: Duration) {
            self.orders.as_ref().unwrap().send(length).unwrap();
        }
    }

    /// The log's thread of the one before may still be ending.
    fn open(path: &Path) -> Broker {
        let began = Instant::now();
        loop {
            match Broker::open(path, Config::default()) {
                Ok((broker, _)) => return broker,
                Err(error) => assert!(began.elapsed() < Duration::from_secs(5), "{error}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    impl Drop for Embedded {
        fn drop(&mut self) {
            self.kill();
        }
    }
}
