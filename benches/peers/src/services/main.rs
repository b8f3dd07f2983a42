//! Services beside loops written by hand, on one redis-server: who handles 200,000 events at which rate and for how much CPU of its own.
//!
//! `cargo run --release --bin services` starts a redis-server for itself, runs the contenders in turn, each in a process of its own, and prints
//! medians with the least and the most of all rounds. The contenders:
//! - `cauce`: a typed handler with default options;
//! - `plain`: a loop as one writes it by hand: COUNT 100, then one XACK for the batch;
//! - `ceiling`: tuned by hand: COUNT 1000, the next batch is read while one is handled, XACK on a second connection, values taken raw;
//! - `ruststream`, `ruststream-batches`: a typed handler with default options, and its batches with pipelined acknowledgements;
//! - `sea-streamer`: a consumer of a group that acknowledges each message, batches of 1000;
//! - `publish-...`: publishing as fast as called, 256 calls at once; `publish-raw`: pipelines of 100;
//! - `live-...`: 10,000 events a second, and how long after its publishing each is handled (99 of 100);
//! - `pairs`: two consumers of `cauce` and of `plain` at once;
//! - `drill`: one of a hundred of 20,000 events fails once, one always: how long after the last retry delay all is handled.
//!
//! `CAUCE_ONLY=cauce,ceiling` runs some of them, `CAUCE_ROUNDS=7` rounds, with `CAUCE_EVENTS=200000` events each.

mod consume;
mod live;
mod peers;
mod publish;

use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How many events each contender gets: `CAUCE_EVENTS`.
fn events() -> usize {
    static EVENTS: OnceLock<usize> = OnceLock::new();
    *EVENTS.get_or_init(|| setting("CAUCE_EVENTS").unwrap_or(200_000))
}

fn rounds() -> usize {
    setting("CAUCE_ROUNDS").unwrap_or(7)
}

fn setting(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => compare().await,
        [role, url] => {
            let begin = Instant::now();
            let cpu = cpu_seconds()?;
            match role.as_str() {
                "cauce" => consume::cauce(url, events()).await?,
                // Until they are killed.
                "half-cauce" => consume::cauce(url, usize::MAX).await?,
                "half-plain" => consume::plain(url, usize::MAX).await?,
                "plain" => consume::plain(url, events()).await?,
                "ceiling" => consume::ceiling(url, events()).await?,
                "publish-cauce" => publish::cauce(url, events()).await?,
                "publish-raw" => publish::raw(url, events()).await?,
                "ruststream" => peers::ruststream(url).await?,
                "ruststream-batches" => peers::ruststream_batches(url).await?,
                "sea-streamer" => peers::sea_streamer(url).await?,
                "publish-ruststream" => peers::publish_ruststream(url).await?,
                "publish-sea" => peers::publish_sea_streamer(url).await?,
                "live-cauce" => return live::cauce(url).await,
                "live-plain" => return live::plain(url).await,
                "drill" => return live::drill(url).await,
                other => bail!("no contender is called {other}"),
            }
            println!("{} {}", begin.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
            Ok(())
        }
        _ => bail!("usage: services"),
    }
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn compare() -> Result<()> {
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let directory = tempfile::tempdir()?;
    let server = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--save", "", "--appendonly", "no", "--dir"])
        .arg(directory.path())
        .stdout(Stdio::null())
        .spawn()
        .context("redis-server is needed")?;
    let _server = Server(server);
    let url = format!("redis://127.0.0.1:{port}");
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let only = std::env::var("CAUCE_ONLY").unwrap_or_default();
    // Those named that take part, or all.
    let among = |roles: &[&'static str]| -> Vec<&'static str> {
        roles.iter().filter(|role| only.is_empty() || only.split(',').any(|named| named == **role)).copied().collect()
    };
    rates(&url, &among(&["ceiling", "cauce", "plain", "ruststream", "ruststream-batches", "sea-streamer"])).await?;
    rates(&url, &among(&["publish-raw", "publish-cauce", "publish-ruststream", "publish-sea"])).await?;
    if !among(&["pairs"]).is_empty() {
        pairs(&url).await?;
    }
    times(&url, &among(&["live-plain", "live-cauce"])).await?;
    times(&url, &among(&["drill"])).await
}

async fn rates(url: &str, roles: &[&str]) -> Result<()> {
    if roles.is_empty() {
        return Ok(());
    }
    let mut figures: Vec<Vec<(f64, f64)>> = vec![Vec::new(); roles.len()];
    for _ in 0..rounds() {
        for (role, figures) in roles.iter().zip(&mut figures) {
            prepare(url, role).await?;
            let (seconds, cpu) = finish(start(role, url)?, role)?;
            figures.push((events() as f64 / seconds, cpu * 1e6 / events() as f64));
        }
    }
    print(roles, &figures);
    Ok(())
}

/// Two consumers of one group at once.
async fn pairs(url: &str) -> Result<()> {
    let mut ratios = Vec::new();
    for _ in 0..rounds() {
        let mut both = Vec::new();
        for role in ["plain", "cauce"] {
            prepare(url, role).await?;
            let begin = Instant::now();
            // Together they handle all events; who has handled his share alone can't know it, so the group is asked.
            let mut running = [start(&format!("half-{role}"), url)?, start(&format!("half-{role}"), url)?];
            wait_until_all_are_acknowledged(url).await?;
            both.push(events() as f64 / begin.elapsed().as_secs_f64());
            for child in &mut running {
                child.kill()?;
                child.wait()?;
            }
        }
        if let [plain, cauce] = both[..] {
            ratios.push((plain, cauce, cauce / plain));
        }
    }
    println!(
        "two consumers  plain {:.0}/s, cauce {:.0}/s, ratio {}",
        median(ratios.iter().map(|all| all.0)),
        median(ratios.iter().map(|all| all.1)),
        spread(ratios.iter().map(|all| all.2)),
    );
    Ok(())
}

async fn wait_until_all_are_acknowledged(url: &str) -> Result<()> {
    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    loop {
        let (pending, _, _, _): (usize, redis::Value, redis::Value, redis::Value) =
            redis::cmd("XPENDING").arg("streamsKey").arg("group").query_async(&mut connection).await?;
        let groups: Vec<std::collections::HashMap<String, redis::Value>> =
            redis::cmd("XINFO").arg("GROUPS").arg("streamsKey").query_async(&mut connection).await?;
        let lag = groups.first().and_then(|group| group.get("lag")).cloned();
        if pending == 0 && lag == Some(redis::Value::Int(0)) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Contenders that say how long something took, in milliseconds.
async fn times(url: &str, roles: &[&str]) -> Result<()> {
    let mut figures: Vec<Vec<f64>> = vec![Vec::new(); roles.len()];
    for _ in 0..rounds() {
        for (role, figures) in roles.iter().zip(&mut figures) {
            prepare(url, "publish").await?;
            figures.push(finish(start(role, url)?, role)?.0);
        }
    }
    let Some(first) = figures.first() else { return Ok(()) };
    for (role, own) in roles.iter().zip(&figures) {
        let ratio = spread(own.iter().zip(first).map(|(own, first)| own / first));
        println!("{role:14} {} ms, ratio {ratio} of {}", spread(own.iter().copied()), roles.first().copied().unwrap_or_default());
    }
    Ok(())
}

/// An empty server, or one with all events published and a group at their beginning.
async fn prepare(url: &str, role: &str) -> Result<()> {
    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    redis::cmd("FLUSHALL").exec_async(&mut connection).await?;
    if !role.starts_with("publish") {
        // Each finds its events as it would have published them itself.
        match role {
            "ruststream" | "ruststream-batches" => publish::raw_in(url, "_payload").await?,
            "sea-streamer" => publish::raw_in(url, "msg").await?,
            _ => publish::raw(url, events()).await?,
        }
        redis::cmd("XGROUP").arg("CREATE").arg("streamsKey").arg("group").arg("0").exec_async(&mut connection).await?;
    }
    Ok(())
}

fn start(role: &str, url: &str) -> Result<Child> {
    Ok(Command::new(std::env::current_exe()?).args([role, url]).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?)
}

/// The two numbers that it prints.
fn finish(child: Child, role: &str) -> Result<(f64, f64)> {
    let text = String::from_utf8(child.wait_with_output()?.stdout)?;
    let mut numbers = text.split_whitespace().map(str::parse::<f64>);
    match (numbers.next(), numbers.next()) {
        (Some(first), Some(second)) => Ok((first?, second?)),
        _ => bail!("{role} printed no figures: {text}"),
    }
}

fn print(roles: &[&str], figures: &[Vec<(f64, f64)>]) {
    let Some(first) = figures.first() else { return };
    for (role, own) in roles.iter().zip(figures) {
        let ratios = spread(own.iter().zip(first).map(|(own, first)| own.0 / first.0));
        let cpu_ratios = spread(own.iter().zip(first).map(|(own, first)| own.1 / first.1));
        println!(
            "{role:18} {:9.0}/s  {:5.2} us CPU  rate {ratios}, CPU {cpu_ratios} of {}",
            median(own.iter().map(|own| own.0)),
            median(own.iter().map(|own| own.1)),
            roles.first().copied().unwrap_or_default(),
        );
    }
}

/// Median, least and most.
fn spread(values: impl Iterator<Item = f64> + Clone) -> String {
    let (least, most) = values.clone().fold((f64::INFINITY, 0.0_f64), |(least, most), value| {
        (least.min(value), most.max(value))
    });
    format!("{:.2} ({least:.2}-{most:.2})", median(values))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// CPU time of this process so far, user and system.
fn cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/schedstat")?;
    let mut total: f64 = stat.split_whitespace().next().context("empty schedstat")?.parse()?;
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?;
        if task.file_name().to_string_lossy() != std::process::id().to_string() {
            let stat = std::fs::read_to_string(task.path().join("schedstat"))?;
            total += stat.split_whitespace().next().context("empty schedstat")?.parse::<f64>()?;
        }
    }
    Ok(total / 1e9)
}
