//! `cauce export`: everything that a broker holds, as commands that make it again on any Redis.

mod source;
mod stream;

use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use cauce_broker::{Broker, ClockSource, Config, Listener};

use crate::client::Server;
use crate::client::resp::encode;
use source::{Reply, Source};

/// Elements of a collection that one command writes.
const ELEMENTS: &[u8] = b"500";
const ELEMENTS_PER_COMMAND: usize = 500;

/// Writes everything that a broker holds as commands that a real Redis (7.0 or newer) takes:
/// `cauce export | redis-cli --pipe`.
///
/// All types with their times to live, all databases; streams with groups, consumers and pending entries. What no command can
/// set is left out: when a consumer was last seen, marks of idempotent producers, users. Entries that were given back (XNACK)
/// belong to the consumer `cauce:released` afterwards, and are due at once.
///
/// A directory is read as it was at one moment, also while a server works in it. A server is read key by key: each stream
/// consistent only if nothing writes to it meanwhile.
#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// The server to read: redis://HOST:PORT, unix:PATH
    #[arg(long, env = "CAUCE_URL", default_value = "redis://127.0.0.1:6379")]
    url: String,
    /// The directory to read, instead of a server
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Let each key replace one of that name; without, the target must not have it
    #[arg(long)]
    replace: bool,
}

/// What was written.
#[derive(Debug, Default)]
struct Written {
    keys: u64,
    entries: u64,
}

/// Writes the commands of one server.
struct Exporter<W> {
    source: Source,
    out: W,
    buffer: Vec<u8>,
    replace: bool,
    written: Written,
}

impl ExportArgs {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let stdout = std::io::stdout();
        if stdout.is_terminal() {
            bail!(
                "this writes commands for a server, not for people: `cauce export | redis-cli --pipe`, or into a file"
            );
        }
        let held = self.dir.as_deref().map(Held::open).transpose()?;
        let server = match &held {
            Some(held) => held.server.clone(),
            None => Server::from_url(&self.url)?,
        };
        let source = Source::connect(&server)?;
        let out = BufWriter::new(stdout.lock());
        let mut exporter =
            Exporter { source, out, buffer: Vec::new(), replace: self.replace, written: Written::default() };
        exporter.all()?;
        let Written { keys, entries } = exporter.written;
        eprintln!("cauce: {keys} keys, {entries} entries of streams written");
        Ok(ExitCode::SUCCESS)
    }
}

impl<W: Write> Exporter<W> {
    fn all(&mut self) -> anyhow::Result<()> {
        let info = self.source.call(&[b"INFO", b"keyspace"])?.bytes();
        let info = String::from_utf8_lossy(&info).into_owned();
        let databases = info.lines().filter_map(|line| line.strip_prefix("db")?.split_once(':'));
        for (database, _) in databases {
            self.source.call(&[b"SELECT", database.as_bytes()])?;
            self.put(&[b"SELECT", database.as_bytes()])?;
            self.database()?;
        }
        self.out.flush().context("the output cannot be written")
    }

    fn database(&mut self) -> anyhow::Result<()> {
        let mut cursor = b"0".to_vec();
        loop {
            let [next, keys] = scanned(self.source.call(&[b"SCAN", &cursor, b"COUNT", ELEMENTS])?)?;
            for key in keys.list() {
                self.key(&key.bytes())?;
            }
            cursor = next.bytes();
            if cursor == b"0" {
                return Ok(());
            }
        }
    }

    fn key(&mut self, key: &[u8]) -> anyhow::Result<()> {
        let kind = self.source.call(&[b"TYPE", key])?.bytes();
        if self.replace && kind != b"none" {
            self.put(&[b"DEL", key])?;
        }
        match kind.as_slice() {
            // Expired or deleted since it was listed.
            b"none" => return Ok(()),
            b"string" => {
                let Some(value) = self.source.call(&[b"GET", key])?.optional() else { return Ok(()) };
                self.put(&[b"SET", key, &value])?;
            }
            b"hash" => self.collection(b"HSCAN", b"HSET", key, 2)?,
            b"set" => self.collection(b"SSCAN", b"SADD", key, 1)?,
            b"zset" => self.sorted_set(key)?,
            b"list" => self.list(key)?,
            b"stream" => self.stream(key)?,
            other => bail!(
                "the key `{}` is of type {}, which cannot be exported; what comes after it was not written",
                String::from_utf8_lossy(key),
                String::from_utf8_lossy(other)
            ),
        }
        self.written.keys += 1;
        let expires_at = self.source.call(&[b"PEXPIRETIME", key])?.number()?;
        if expires_at >= 0 {
            self.put(&[b"PEXPIREAT", key, expires_at.to_string().as_bytes()])?;
        }
        Ok(())
    }

    /// What one pass of a scan finds, `width` values to an element. An element may be found twice: it is the same one.
    fn collection(&mut self, scan: &[u8], write: &[u8], key: &[u8], width: usize) -> anyhow::Result<()> {
        let mut cursor = b"0".to_vec();
        loop {
            let [next, found] = scanned(self.source.call(&[scan, key, &cursor, b"COUNT", ELEMENTS])?)?;
            let values: Vec<Vec<u8>> = found.list().into_iter().map(Reply::bytes).collect();
            for part in values.chunks(ELEMENTS_PER_COMMAND * width) {
                self.put_all(&[write, key], part)?;
            }
            cursor = next.bytes();
            if cursor == b"0" {
                return Ok(());
            }
        }
    }

    /// Scans name the member first, commands the score.
    fn sorted_set(&mut self, key: &[u8]) -> anyhow::Result<()> {
        let mut cursor = b"0".to_vec();
        loop {
            let [next, found] = scanned(self.source.call(&[b"ZSCAN", key, &cursor, b"COUNT", ELEMENTS])?)?;
            let mut values: Vec<Vec<u8>> = found.list().into_iter().map(Reply::bytes).collect();
            values.chunks_exact_mut(2).for_each(<[Vec<u8>]>::reverse);
            for part in values.chunks(ELEMENTS_PER_COMMAND * 2) {
                self.put_all(&[b"ZADD", key], part)?;
            }
            cursor = next.bytes();
            if cursor == b"0" {
                return Ok(());
            }
        }
    }

    fn list(&mut self, key: &[u8]) -> anyhow::Result<()> {
        for from in (0..).step_by(ELEMENTS_PER_COMMAND) {
            let to = from + ELEMENTS_PER_COMMAND - 1;
            let range = [from, to].map(|index| index.to_string());
            let found = self.source.call(&[b"LRANGE", key, range[0].as_bytes(), range[1].as_bytes()])?;
            let values: Vec<Vec<u8>> = found.list().into_iter().map(Reply::bytes).collect();
            if values.is_empty() {
                break;
            }
            self.put_all(&[b"RPUSH", key], &values)?;
        }
        Ok(())
    }

    fn put(&mut self, arguments: &[&[u8]]) -> anyhow::Result<()> {
        self.buffer.clear();
        encode(&mut self.buffer, arguments);
        self.out.write_all(&self.buffer).context("the output cannot be written")
    }

    fn put_all(&mut self, words: &[&[u8]], values: &[Vec<u8>]) -> anyhow::Result<()> {
        if values.is_empty() {
            return Ok(());
        }
        let arguments: Vec<&[u8]> = words.iter().copied().chain(values.iter().map(Vec::as_slice)).collect();
        self.put(&arguments)
    }
}

/// The cursor and the elements in a reply of a scan.
fn scanned(reply: Reply) -> anyhow::Result<[Reply; 2]> {
    <[Reply; 2]>::try_from(reply.list()).ok().context("the server replied to a scan with something else")
}

/// A directory's content in a broker of our own, on a socket that only this user can reach.
struct Held {
    server: Server,
    // Dropped in this order: those who use the directory first.
    _runtime: tokio::runtime::Runtime,
    _place: tempfile::TempDir,
}

impl Held {
    fn open(directory: &Path) -> anyhow::Result<Self> {
        let mut config = Config::default();
        config.clock = ClockSource::System;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let place = tempfile::tempdir().context("no place for a socket")?;
        let path = place.path().join("s");
        let broker = Broker::read(directory, &config)?;
        let listener = runtime.block_on(async { Listener::unix(&path) })?;
        runtime.spawn(async move { broker.serve(listener).await });
        let server = Server::from_url(&format!("unix:{}", path.display()))?;
        Ok(Self { server, _runtime: runtime, _place: place })
    }
}
