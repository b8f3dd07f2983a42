//! What the simulated clients do.

use std::time::Duration;

use cauce_testkit::wire::Value;

use super::client::{Client, Gone};
use super::ledger::{GROUPS, SHRINKING, STREAMS, entries};
use super::world::Scene;

const PUBLISH: &str = "redis.call('INCR', KEYS[2]) return redis.call('XADD', KEYS[1], '*', 'n', ARGV[1])";
const POP: &str = "local job = redis.call('ZPOPMIN', KEYS[1])[1] if job then redis.call('HDEL', KEYS[2], job) end return job";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Publisher,
    GroupReader,
    Claimer,
    Follower,
    Clerk,
}

pub(super) const CAST: [Role; 8] = [
    Role::Publisher,
    Role::Publisher,
    Role::GroupReader,
    Role::GroupReader,
    Role::Claimer,
    Role::Follower,
    Role::Clerk,
    Role::Clerk,
];

/// One client, until the life of the broker ends.
pub(super) struct Player {
    pub(super) scene: Scene,
    pub(super) number: usize,
    pub(super) rng: fastrand::Rng,
    client: Client,
    /// Where a follower is in each stream.
    cursors: [String; 3],
    written: u32,
}

impl Player {
    pub(super) fn new(scene: Scene, number: usize, rng: fastrand::Rng) -> Self {
        let client = Client::new(&scene.broker);
        Self { scene, number, rng, client, cursors: STREAMS.map(|_| "0".to_owned()), written: 0 }
    }

    pub(super) async fn play(mut self, role: Role) {
        loop {
            tokio::time::sleep(Duration::from_micros(self.rng.u64(..4000))).await;
            let done = match role {
                Role::Publisher => self.publish().await,
                Role::GroupReader => self.read().await,
                Role::Claimer => self.claim().await,
                Role::Follower => self.follow().await,
                Role::Clerk => self.keep_books().await,
            };
            match done {
                Ok(()) if self.rng.u8(..50) > 0 => {}
                Ok(()) => {
                    // It leaves in the middle of a command, and comes again.
                    let n = self.number_of_entry();
                    let _sent = self.client.send(&["XADD", "s0", "*", "n", &n]).await;
                    self.client = Client::new(&self.scene.broker);
                }
                Err(Gone) => {
                    self.scene.note(|| format!("client {} lost its connection", self.number));
                    return;
                }
            }
        }
    }

    async fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<Value, Gone> {
        let reply = self.client.call(args).await?;
        self.heard(args, &reply);
        Ok(reply)
    }

    fn heard<A: AsRef<[u8]>>(&self, args: &[A], reply: &Value) {
        self.scene.note(|| {
            let words: Vec<_> = args.iter().map(|arg| String::from_utf8_lossy(arg.as_ref())).collect();
            format!("client {}: {} -> {reply}", self.number, words.join(" "))
        });
    }

    /// Different for every entry of a history.
    fn number_of_entry(&mut self) -> String {
        self.written += 1;
        format!("{}.{}.{}", self.scene.life, self.number, self.written)
    }

    fn stream(&mut self) -> &'static str {
        STREAMS[self.rng.usize(..STREAMS.len())]
    }

    fn added(&self, stream: &'static str, reply: &Value, n: &str) {
        if let Value::Bulk(id) = reply {
            self.scene.ledger().known(stream, &String::from_utf8_lossy(id), n);
            self.scene.seen().added += 1;
        }
    }

    async fn publish(&mut self) -> Result<(), Gone> {
        match self.rng.u8(..8) {
            0 | 1 => {
                let (stream, n) = (self.stream(), self.number_of_entry());
                let reply = self.call(&["XADD", stream, "*", "n", &n]).await?;
                self.added(stream, &reply, &n);
            }
            2 | 3 => {
                let stream = self.stream();
                let sent: Vec<String> = (0..self.rng.usize(2..6)).map(|_| self.number_of_entry()).collect();
                for n in &sent {
                    self.client.send(&["XADD", stream, "*", "n", n]).await?;
                }
                for n in &sent {
                    let reply = self.client.receive().await?;
                    self.heard(&["XADD", stream, n], &reply);
                    self.added(stream, &reply, n);
                }
            }
            4 => {
                let n = format!("pair{}", self.number_of_entry());
                self.client.ask("MULTI").await?;
                for stream in ["s0", "s1"] {
                    self.client.call(&["XADD", stream, "*", "n", &n]).await?;
                }
                let reply = self.call(&["EXEC"]).await?;
                for (stream, reply) in STREAMS.into_iter().zip(reply.elements().unwrap_or_default()) {
                    self.added(stream, reply, &n);
                }
            }
            5 => {
                // Large ones fill blocks and segments.
                let (stream, n) = (self.stream(), self.number_of_entry());
                let body = "x".repeat(self.rng.usize(..3000));
                let reply = self.call(&["XADD", stream, "*", "n", &n, "body", &body]).await?;
                self.added(stream, &reply, &n);
            }
            6 => {
                let (stream, n) = (self.stream(), self.number_of_entry());
                let reply = self.call(&["EVAL", PUBLISH, "2", stream, "published", &n]).await?;
                self.added(stream, &reply, &n);
            }
            _ => {
                let id = self.scene.ledger().any_deletable(&mut self.rng);
                let Some(id) = id else { return Ok(()) };
                self.scene.ledger().deleting(&id);
                if self.call(&["XDEL", SHRINKING, &id]).await? == Value::Integer(1) {
                    self.scene.ledger().deleted(&id);
                }
            }
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<(), Gone> {
        let (stream, group) = (self.stream(), GROUPS[self.rng.usize(..GROUPS.len())]);
        let asked = self.scene.ledger().now();
        let consumer = format!("c{}", self.number);
        let count = self.rng.u8(1..6).to_string();
        let block = self.rng.u8(1..20).to_string();
        let mut words = vec!["XREADGROUP", "GROUP", group, &consumer, "COUNT", &count];
        let from = if self.rng.u8(..5) == 0 { "0" } else { ">" };
        if self.rng.bool() {
            words.extend(["BLOCK", &block]);
        }
        words.extend(["STREAMS", stream, from]);
        let reply = self.call(&words).await?;
        let got = first_stream(&reply);
        for entry in &got {
            self.scene.ledger().delivered(group, stream, entry, asked);
        }
        self.acknowledge(group, stream, &got).await
    }

    async fn acknowledge(
        &mut self,
        group: &'static str,
        stream: &'static str,
        got: &[(String, String)],
    ) -> Result<(), Gone> {
        // Some stay pending.
        let ids: Vec<String> =
            got.iter().filter(|_| self.rng.u8(..4) > 0).map(|(id, _)| id.clone()).collect();
        for id in &ids {
            self.client.send(&["XACK", stream, group, id]).await?;
        }
        for id in &ids {
            let reply = self.client.receive().await?;
            self.heard(&["XACK", stream, group, id], &reply);
            if reply == Value::Integer(1) {
                self.scene.ledger().acknowledged(group, stream, id);
                self.scene.seen().acknowledged += 1;
            }
        }
        Ok(())
    }

    async fn claim(&mut self) -> Result<(), Gone> {
        let (stream, group) = (self.stream(), GROUPS[self.rng.usize(..GROUPS.len())]);
        let asked = self.scene.ledger().now();
        let idle = self.rng.u8(..20).to_string();
        let got = if self.rng.bool() {
            let words = ["XAUTOCLAIM", stream, group, "claimer", &idle, "0", "COUNT", "4"];
            let reply = self.call(&words).await?;
            reply.elements().and_then(|parts| parts.get(1)).map(entries).unwrap_or_default()
        } else {
            let words = ["XPENDING", stream, group, "IDLE", &idle, "-", "+", "3"];
            let pending = self.call(&words).await?;
            let ids = pending.elements().unwrap_or_default().iter();
            let ids: Vec<String> = ids.filter_map(|entry| entry.elements()?.first()?.text()).collect();
            if ids.is_empty() {
                return Ok(());
            }
            let mut words = vec!["XCLAIM", stream, group, "claimer", &idle];
            words.extend(ids.iter().map(String::as_str));
            entries(&self.call(&words).await?)
        };
        for entry in &got {
            self.scene.ledger().delivered(group, stream, entry, asked);
        }
        self.scene.seen().claimed += got.len() as u64;
        self.acknowledge(group, stream, &got).await
    }

    /// Reads all streams, and waits at their ends.
    async fn follow(&mut self) -> Result<(), Gone> {
        let block = self.rng.u8(1..30).to_string();
        let [a, b, c] = self.cursors.clone();
        let words = ["XREAD", "COUNT", "20", "BLOCK", &block, "STREAMS", "s0", "s1", "s2", &a, &b, &c];
        let reply = self.call(&words).await?;
        for part in reply.elements().unwrap_or_default() {
            let Some([name, list]) = part.elements() else { continue };
            let place = STREAMS.iter().position(|stream| name.text().as_deref() == Some(stream));
            let place = place.expect("only these were asked for");
            for (id, n) in entries(list) {
                self.scene.ledger().known(STREAMS[place], &id, &n);
                self.cursors[place] = id;
                self.scene.seen().woken += 1;
            }
        }
        Ok(())
    }

    /// Counts, transfers, and passes jobs on.
    async fn keep_books(&mut self) -> Result<(), Gone> {
        match self.rng.u8(..6) {
            0 => {
                let reply = self.call(&["INCR", "counter"]).await?;
                self.scene.ledger().counted(reply.integer().unwrap_or_default());
            }
            1 => {
                let text = self.call(&["GET", "counter"]).await?.text().unwrap_or_default();
                self.scene.ledger().counted(text.parse().unwrap_or_default());
            }
            2 => {
                let amount = self.rng.u8(..).to_string();
                self.client.ask("MULTI").await?;
                self.client.call(&["DECRBY", "account:a", &amount]).await?;
                self.client.call(&["INCRBY", "account:b", &amount]).await?;
                self.call(&["EXEC"]).await?;
            }
            3 | 4 => {
                let job = self.number_of_entry();
                self.client.ask("MULTI").await?;
                self.client.call(&["ZADD", "jobs", &self.written.to_string(), &job]).await?;
                self.client.call(&["HSET", "jobs:bodies", &job, "body"]).await?;
                let reply = self.call(&["EXEC"]).await?;
                if reply.elements().is_some() {
                    self.scene.ledger().pushed(&job);
                }
            }
            _ => {
                self.scene.ledger().popping();
                let reply = self.call(&["EVAL", POP, "2", "jobs", "jobs:bodies"]).await?;
                self.scene.ledger().answered();
                if let Value::Bulk(job) = &reply {
                    self.scene.ledger().popped(&String::from_utf8_lossy(job));
                    self.scene.seen().popped += 1;
                }
            }
        }
        Ok(())
    }
}

/// The entries of the only stream in a reply of XREADGROUP. In the consumer's own history, deleted ones have no fields.
fn first_stream(reply: &Value) -> Vec<(String, String)> {
    let list = reply.elements().and_then(|streams| streams.first()?.elements()?.get(1));
    list.map(entries).unwrap_or_default()
}
