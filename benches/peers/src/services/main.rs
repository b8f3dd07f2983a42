//! Services beside loops written by hand, on one redis-server: who handles 200,000 events at which rate and for how much CPU of its own.
//!
//! `cargo run --release --bin services` starts a redis-server for itself, runs the contenders in turn, each in a process of its own, and prints
//! the medians. The contenders:
//! - `cauce`: a typed handler with default options;
//! - `plain`: a loop as one writes it by hand: COUNT 100, then one XACK for the batch;
//! - `ceiling`: tuned by hand: COUNT 1000, the next batch is read while one is handled, XACK on a second connection, values taken raw;
//! - `publish-cauce`: publishing as fast as called, many calls at once; `publish-raw`: pipelines of 100.

mod consume;
mod publish;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

const EVENTS: usize = 200_000;
const ROUNDS: usize = 5;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => compare().await,
        [role, url] => {
            let begin = Instant::now();
            let cpu = cpu_seconds()?;
            match role.as_str() {
                "cauce" => consume::cauce(url, EVENTS).await?,
                "plain" => consume::plain(url, EVENTS).await?,
                "ceiling" => consume::ceiling(url, EVENTS).await?,
                "publish-cauce" => publish::cauce(url, EVENTS).await?,
                "publish-raw" => publish::raw(url, EVENTS).await?,
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
    let groups: [&[&str]; 2] = [&["ceiling", "cauce", "plain"], &["publish-raw", "publish-cauce"]];
    for roles in groups {
        let mut figures: Vec<Vec<(f64, f64)>> = vec![Vec::new(); roles.len()];
        for _ in 0..ROUNDS {
            for (role, figures) in roles.iter().zip(&mut figures) {
                prepare(&url, role).await?;
                figures.push(run(role, &url)?);
            }
        }
        print(roles, &figures);
    }
    Ok(())
}

/// An empty server, or one with all events published and a group at their beginning.
async fn prepare(url: &str, role: &str) -> Result<()> {
    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    redis::cmd("FLUSHALL").exec_async(&mut connection).await?;
    if !role.starts_with("publish") {
        publish::raw(url, EVENTS).await?;
        redis::cmd("XGROUP").arg("CREATE").arg("streamsKey").arg("group").arg("0").exec_async(&mut connection).await?;
    }
    Ok(())
}

fn run(role: &str, url: &str) -> Result<(f64, f64)> {
    let output = Command::new(std::env::current_exe()?).args([role, url]).stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8(output.stdout)?;
    let mut numbers = text.split_whitespace().map(str::parse::<f64>);
    match (numbers.next(), numbers.next()) {
        (Some(seconds), Some(cpu)) => Ok((EVENTS as f64 / seconds?, cpu? * 1e6 / EVENTS as f64)),
        _ => bail!("{role} printed no figures: {text}"),
    }
}

fn print(roles: &[&str], figures: &[Vec<(f64, f64)>]) {
    let Some(first) = figures.first() else { return };
    for (role, own) in roles.iter().zip(figures) {
        let ratios = median(own.iter().zip(first).map(|(own, first)| own.0 / first.0));
        let cpu_ratios = median(own.iter().zip(first).map(|(own, first)| own.1 / first.1));
        println!(
            "{role:14} {:9.0}/s  {:5.2} us CPU  rate {ratios:4.2}, CPU {cpu_ratios:4.2} of {}",
            median(own.iter().map(|own| own.0)),
            median(own.iter().map(|own| own.1)),
            roles.first().copied().unwrap_or_default(),
        );
    }
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
