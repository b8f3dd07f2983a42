//! The server that is measured on, and its queue, handled with plain commands.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use redis::aio::MultiplexedConnection;

use crate::Work;

/// The queue of all rounds.
pub(crate) const QUEUE: &str = "bench";
const KEY: &str = "rsmq:bench";
const HASH: &str = "rsmq:bench:Q";

pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    child: Option<Child>,
}

impl Server {
    /// The server at the URL, or a redis-server of its own.
    pub(crate) fn new(url: Option<String>) -> anyhow::Result<Self> {
        if let Some(url) = url {
            let place = url.strip_prefix("redis://").context("write redis://HOST:PORT")?;
            let (host, port) = place.split_once(':').context("write redis://HOST:PORT")?;
            return Ok(Self { host: host.to_owned(), port: port.parse()?, child: None, url: url.clone() });
        }
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut command = Command::new("redis-server");
        command.args([
            "--save",
            "",
            "--appendonly",
            "no",
            "--bind",
            "127.0.0.1",
            "--port",
            &port.to_string(),
        ]);
        let child = command.stdout(Stdio::null()).spawn().context("is redis-server installed?")?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            ensure!(Instant::now() < deadline, "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Self {
            url: format!("redis://127.0.0.1:{port}"),
            host: "127.0.0.1".to_owned(),
            port,
            child: Some(child),
        })
    }

    async fn connection(&self) -> anyhow::Result<MultiplexedConnection> {
        Ok(redis::Client::open(self.url.as_str())?.get_multiplexed_async_connection().await?)
    }

    /// An empty queue whose times all libraries take, whatever their unit. What was in it is freed beside: it may be a lot.
    pub(crate) async fn new_queue(&self) -> anyhow::Result<()> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("UNLINK").arg(KEY).arg(HASH).ignore();
        pipeline.cmd("SADD").arg("rsmq:QUEUES").arg(QUEUE).ignore();
        pipeline.cmd("HSET").arg(HASH).arg(&["vt", "90001", "delay", "0", "maxsize", "65536"]);
        pipeline.arg(&["created", "1", "modified", "1"]).ignore();
        Ok(pipeline.exec_async(&mut self.connection().await?).await?)
    }

    /// Messages as any library writes them, all visible.
    pub(crate) async fn fill(&self, messages: usize, body: &str) -> anyhow::Result<()> {
        let mut connection = self.connection().await?;
        for first in (0..messages).step_by(1_000) {
            let mut pipeline = redis::pipe();
            for number in first..messages.min(first + 1_000) {
                let id = format!("fmfr6gkg1i{number:022}");
                pipeline.cmd("ZADD").arg(KEY).arg(1_700_000_000_000_usize + number / 10).arg(&id).ignore();
                pipeline.cmd("HSET").arg(HASH).arg(&id).arg(body).ignore();
            }
            pipeline
                .cmd("HINCRBY")
                .arg(HASH)
                .arg("totalsent")
                .arg(messages.min(first + 1_000) - first)
                .ignore();
            pipeline.exec_async(&mut connection).await?;
        }
        Ok(())
    }

    /// Whether the work was done.
    pub(crate) async fn check(&self, work: Work, messages: usize) -> anyhow::Result<()> {
        let mut connection = self.connection().await?;
        let left: usize = redis::cmd("ZCARD").arg(KEY).query_async(&mut connection).await?;
        let sent: usize = redis::cmd("HGET").arg(HASH).arg("totalsent").query_async(&mut connection).await?;
        let expected = if matches!(work, Work::Send | Work::SendBatches) { messages } else { 0 };
        ensure!(
            left == expected && sent == messages,
            "{work:?}: {left} messages are left of {messages}, {sent} sent"
        );
        Ok(())
    }

    /// What the server has used of its processor.
    pub(crate) async fn processor_seconds(&self) -> anyhow::Result<f64> {
        let info: String = redis::cmd("INFO").arg("cpu").query_async(&mut self.connection().await?).await?;
        let seconds = |name: &str| {
            info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
        };
        Ok(seconds("used_cpu_user").unwrap_or(0.0) + seconds("used_cpu_sys").unwrap_or(0.0))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended already; then there is nothing to end.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
