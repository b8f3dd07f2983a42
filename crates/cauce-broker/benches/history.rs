//! Streams on disk: what a restart, a checkpoint and a reader of old history cost.
//!
//! `cargo bench -p cauce-broker --bench history` prints everything; `CAUCE_HISTORY_ENTRIES` (default ten million) and
//! `CAUCE_HISTORY_DIR` (default: a temporary directory) say how much, and where. The filling process is killed with
//! SIGKILL, so that what follows begins with a recovery.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cauce_broker::{Broker, Config, SyncPolicy};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const GROUPS: usize = 1000;
/// Requests per write while filling.
const DEPTH: usize = 200;
const MEASURED: Duration = Duration::from_secs(5);

fn main() -> Result<()> {
    let entries = number("CAUCE_HISTORY_ENTRIES", 10_000_000);
    // Pending entries, and messages of the queue.
    let others = number("CAUCE_HISTORY_OTHERS", 1_000_000);
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    if let [_, mode, directory, ..] = arguments.as_slice()
        && mode == "fill"
    {
        return runtime.block_on(fill(Path::new(directory), entries, others));
    }
    let temporary = tempfile::tempdir()?;
    let directory = std::env::var_os("CAUCE_HISTORY_DIR").map_or(temporary.path().to_owned(), PathBuf::from);
    println!("{entries} entries, {GROUPS} groups, {others} pending entries, a queue of {others} messages");
    kill_after_filling(&directory)?;
    runtime.block_on(measure(&directory, entries, others))
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn config(sync: SyncPolicy) -> Config {
    let mut config = Config::default();
    config.sync = sync;
    config.settings.stream_memory = number("CAUCE_HISTORY_MEMORY", 256 * 1024 * 1024) as u64;
    config
}

/// Fills a directory in a process of its own and kills that.
fn kill_after_filling(directory: &Path) -> Result<()> {
    let began = Instant::now();
    let program = std::env::current_exe()?;
    let mut child = Command::new(program).arg("fill").arg(directory).stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().ok_or("the child has an output")?;
    for line in BufReader::new(output).lines() {
        let line = line?;
        if line == "ready" {
            break;
        }
        println!("  {line}");
    }
    println!("  filled in {:.1} s, then killed", began.elapsed().as_secs_f64());
    child.kill()?;
    child.wait()?;
    Ok(())
}

/// A connection inside the process.
struct Client {
    io: DuplexStream,
    batch: Vec<u8>,
    waiting: usize,
    read: Vec<u8>,
}

impl Client {
    fn new(broker: &Broker) -> Self {
        Self { io: broker.connect(), batch: Vec::new(), waiting: 0, read: vec![0; 1 << 16] }
    }

    /// Adds a command of words to the batch, and sends it when it is large.
    async fn add(&mut self, command: &str) -> Result<()> {
        let words: Vec<&str> = command.split(' ').collect();
        write!(self.batch, "*{}\r\n", words.len())?;
        for word in words {
            write!(self.batch, "${}\r\n{word}\r\n", word.len())?;
        }
        self.waiting += 1;
        if self.waiting == DEPTH { self.flush().await } else { Ok(()) }
    }

    /// Sends the batch, with a mark behind it, and reads up to the mark.
    async fn flush(&mut self) -> Result<()> {
        self.batch.extend_from_slice(b"*2\r\n$4\r\nECHO\r\n$9\r\n<the-end>\r\n");
        self.io.write_all(&self.batch).await?;
        self.batch.clear();
        self.waiting = 0;
        let mut tail: Vec<u8> = Vec::new();
        while !tail.ends_with(b"<the-end>\r\n") {
            let read = self.io.read(&mut self.read).await?;
            if read == 0 {
                return Err("the connection has ended".into());
            }
            tail.extend_from_slice(self.read.get(..read).unwrap_or_default());
            tail.drain(..tail.len().saturating_sub(11));
        }
        Ok(())
    }

    async fn ask(&mut self, command: &str) -> Result<String> {
        self.io.write_all(format!("{command}\r\n").as_bytes()).await?;
        let read = self.io.read(&mut self.read).await?;
        Ok(String::from_utf8_lossy(self.read.get(..read).unwrap_or_default()).into_owned())
    }
}

async fn fill(directory: &Path, entries: usize, others: usize) -> Result<()> {
    let (broker, _) = Broker::open(directory, config(SyncPolicy::EverySecond))?;
    let mut client = Client::new(&broker);
    for group in 0..GROUPS {
        client.add(&format!("XGROUP CREATE history group-{group} 0 MKSTREAM")).await?;
    }
    for n in 0..entries {
        client.add(&format!("XADD history * n {n}")).await?;
    }
    client.flush().await?;
    println!("{}", memory(&broker).await?);
    client.add("XGROUP CREATE jobs workers 0 MKSTREAM").await?;
    for n in 0..others {
        client.add(&format!("XADD jobs * n {n}")).await?;
        if n % 100 == 99 {
            client.add("XREADGROUP GROUP workers worker COUNT 100 STREAMS jobs >").await?;
        }
        let id = n * 7919 % others;
        client.add(&format!("HSET queue message:{id} {n:0100}")).await?;
    }
    // Every group has come somewhere, and has something in hand.
    for group in 0..GROUPS {
        client
            .add(&format!("XREADGROUP GROUP group-{group} c COUNT {} STREAMS history >", group % 10 + 1))
            .await?;
    }
    client.flush().await?;
    println!("{}", memory(&broker).await?);
    println!("ready");
    std::io::stdout().flush()?;
    std::future::pending().await
}

/// Memory of this process, and what is in it of streams.
async fn memory(broker: &Broker) -> Result<String> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()).unwrap_or_default()
            / 1024
    };
    let info = Client::new(broker).ask("INFO persistence").await?;
    let blocks: Vec<&str> = info.lines().filter(|line| line.starts_with("cauce_block")).collect();
    Ok(format!("memory: {} MiB resident, {} MiB at most; {}", of("VmRSS:"), of("VmHWM:"), blocks.join(" ")))
}

async fn measure(directory: &Path, entries: usize, others: usize) -> Result<()> {
    let began = Instant::now();
    let (broker, recovery) = Broker::open(directory, config(SyncPolicy::Always))?;
    let mut client = Client::new(&broker);
    let len = client.ask("XLEN history").await?;
    let took = began.elapsed();
    println!("restart: {} ms to the first answer ({} records of log)", took.as_millis(), recovery.replayed);
    assert_eq!(len, format!(":{entries}\r\n"));
    println!("  {}", memory(&broker).await?);

    let began = Instant::now();
    broker.checkpoint()?;
    let full: u64 = std::fs::read_dir(directory)?
        .filter_map(std::result::Result::ok)
        .filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.starts_with("part-") || name.starts_with("blocks-")
        })
        .filter_map(|entry| entry.metadata().ok())
        .map(|metadata| metadata.len())
        .sum();
    println!(
        "checkpoint: {:.1} MB in all; brought up to date in {} ms",
        mega(full),
        began.elapsed().as_millis()
    );
    change(&broker, entries / 100, others / 100, others).await?;
    let began = Instant::now();
    let bytes = broker.checkpoint()?;
    let share = 100.0 * bytes as f64 / full as f64;
    println!(
        "  after 1 % changed: {:.2} MB = {share:.2} %, in {} ms",
        mega(bytes),
        began.elapsed().as_millis()
    );

    let alone = adding(&broker, None).await?;
    println!("XADD alone: {alone}");
    let reader = broker.clone();
    let reading = tokio::spawn(async move {
        let mut client = Client::new(&reader);
        let mut from = "0".to_owned();
        loop {
            let read =
                client.ask(&format!("XREAD COUNT 1000 STREAMS history {from}")).await.unwrap_or_default();
            // The last id of the reply, if it came in one piece; else a little further.
            let last =
                read.lines().rev().find(|line| line.len() > 14 && line.as_bytes().get(13) == Some(&b'-'));
            from = last.map_or("0".to_owned(), str::to_owned);
            client.flush().await.unwrap_or_default();
        }
    });
    let beside = adding(&broker, None).await?;
    reading.abort();
    println!("XADD beside a reader of cold history: {beside}");
    println!("  {}", memory(&broker).await?);
    let under = adding(&broker, Some((others / 100, others))).await?;
    println!("XADD while checkpoints are written: {under}");
    println!("  {}", memory(&broker).await?);
    Ok(())
}

fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Changes entries, pending entries, and messages scattered over the queue.
async fn change(broker: &Broker, entries: usize, others: usize, of: usize) -> Result<()> {
    let mut client = Client::new(broker);
    for n in 0..entries {
        client.add(&format!("XADD history * n {n}")).await?;
    }
    for n in 0..others {
        client.add(&format!("XADD jobs * n {n}")).await?;
        if n % 100 == 99 {
            client.add("XREADGROUP GROUP workers worker COUNT 100 STREAMS jobs >").await?;
        }
        client.add(&format!("HSET queue message:{} changed-{n:090}", n * 104_729 % of)).await?;
    }
    client.flush().await
}

/// Adds entries one by one for some seconds, while checkpoints are written if that is asked for; says how long it takes.
async fn adding(broker: &Broker, checkpoints: Option<(usize, usize)>) -> Result<String> {
    let mut client = Client::new(broker);
    let writing = checkpoints.map(|(changed, of)| {
        let broker = broker.clone();
        tokio::spawn(async move {
            let (mut count, began) = (0, Instant::now());
            while began.elapsed() < MEASURED {
                change(&broker, changed, changed, of).await.unwrap_or_default();
                let broker = broker.clone();
                let written = tokio::task::spawn_blocking(move || broker.checkpoint().is_ok()).await;
                count += usize::from(written.is_ok_and(|written| written));
            }
            count
        })
    });
    let mut micros = Vec::new();
    let began = Instant::now();
    while began.elapsed() < MEASURED {
        let sent = Instant::now();
        client.ask("XADD live * n 1").await?;
        micros.push(sent.elapsed().as_micros());
        // A pause, so that the machine has room for others.
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    micros.sort_unstable();
    let at = |share: f64| micros.get((micros.len() as f64 * share) as usize).copied().unwrap_or_default();
    let (p50, p99, p999) = (at(0.5), at(0.99), at(0.999));
    let max = micros.last().copied().unwrap_or_default();
    let count = match writing {
        Some(task) => format!("; {} checkpoints", task.await?),
        None => String::new(),
    };
    Ok(format!("p50 {p50} us, p99 {p99} us, p99.9 {p999} us, max {max} us, {} requests{count}", micros.len()))
}
