//! `cauce serve`: holds a broker that speaks Redis's protocol.

mod http;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use cauce_broker::{Broker, ClockSource, Config, DirectoryError, Listener, OpenError, Settings, SyncPolicy};
use tokio::signal::unix::{SignalKind, signal};

use self::http::{Http, HttpArgs};

/// Exit code when the disk has refused a write or a sync of records (`EX_IOERR` of sysexits).
const LOG_FAILED: u8 = 74;

/// How long connections have to take what they are owed when the broker is stopped.
const DRAIN_MAX: Duration = Duration::from_millis(500);
/// Room for scripts that nest documents as deep as they may. Taken only as it is used.
const THREAD_STACK_BYTES: usize = 8 << 20;

/// Holds a broker that speaks Redis's protocol.
///
/// Exit codes: 0 stopped by a signal, 1 could not start, 2 wrong usage, 74 the disk refused a write or a sync: no reply was
/// sent that it would have made untrue, and the next start shows what the disk has.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// Directory of the data; made if it is missing. Programs of this machine reach the broker by `file:DIR` too.
    #[arg(long, value_name = "DIR", default_value = "./cauce-data", conflicts_with = "memory")]
    dir: PathBuf,
    /// Keep everything in memory: it is gone when the broker ends.
    #[arg(long)]
    memory: bool,
    /// Address to listen on. Beyond loopback a password is required.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1")]
    bind: IpAddr,
    /// TCP port; 0 picks a free one, which is printed.
    #[arg(long, value_name = "N", default_value_t = 6379)]
    port: u16,
    /// Listen on a Unix socket too.
    #[arg(long, value_name = "PATH")]
    unix_socket: Option<PathBuf>,
    /// When a write is on disk: before its reply, within a second, or when the system likes.
    #[arg(long, value_enum, default_value_t = Sync::Always)]
    sync: Sync,
    /// Memory for blocks of streams that are on disk too; what does not fit is read back when it is asked for. 0 for no limit.
    #[arg(long, value_name = "BYTES", default_value_t = Settings::default().stream_memory)]
    stream_memory: u64,
    /// Bytes of log after which a checkpoint is written. Less costs writing, more costs time at the next start.
    #[arg(long, value_name = "BYTES", default_value_t = Config::default().checkpoint_after_bytes)]
    checkpoint_after: u64,
    /// Bytes of a file of the log.
    #[arg(long, value_name = "BYTES", default_value_t = Config::default().segment_bytes, hide = true)]
    segment_bytes: u64,
    /// Password that clients must give.
    #[arg(long, value_name = "SECRET", default_value = "", hide_default_value = true)]
    requirepass: String,
    /// Threads that serve connections. One is the fastest where clients share the machine.
    #[arg(long, value_name = "N", default_value_t = 1, hide = true)]
    io_threads: usize,
    #[command(flatten)]
    http: HttpArgs,
}

/// When a write is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Sync {
    /// Before its reply.
    Always,
    /// Within a second.
    Everysec,
    /// When the system likes.
    Off,
}

impl Sync {
    fn policy(self) -> SyncPolicy {
        match self {
            Self::Always => SyncPolicy::Always,
            Self::Everysec => SyncPolicy::EverySecond,
            Self::Off => SyncPolicy::Off,
        }
    }

    /// As the flag is written.
    fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Everysec => "everysec",
            Self::Off => "off",
        }
    }
}

/// Runs the command; what it returns is the process's exit code.
pub(crate) fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let runtime = match args.io_threads {
        0 => bail!("--io-threads must be at least 1"),
        // One worker, but of a runtime that can give its tasks to another thread when a script does not end.
        threads => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_stack_size(THREAD_STACK_BYTES)
            .enable_all()
            .build(),
    };
    let runtime = runtime.context("cannot start the runtime")?;
    let ended = runtime.block_on(serve(args));
    // A script that does not end keeps its thread: it is not waited for.
    runtime.shutdown_background();
    ended
}

async fn serve(args: ServeArgs) -> anyhow::Result<ExitCode> {
    raise_descriptor_limit();
    let protected = !args.requirepass.is_empty();
    let tcp = Listener::tcp(SocketAddr::new(args.bind, args.port), protected).await?;
    let address = tcp.address().context("a TCP listener has an address")?;
    let unix = args.unix_socket.as_deref().map(Listener::unix).transpose()?;

    let http = Http::start(args.http, address, &args.requirepass)?;

    let mut config = Config::default();
    config.clock = ClockSource::System;
    config.settings.requirepass = args.requirepass;
    config.settings.hash_seed = random_seed();
    let facts = &mut config.settings.facts;
    facts.process_id = std::process::id();
    facts.port = address.port();
    facts.bind = args.bind.to_string();
    facts.run_id = format!("{:016x}{:016x}{:08x}", random_seed(), random_seed(), std::process::id());
    facts.unix_socket = args.unix_socket.map(|path| path.display().to_string()).unwrap_or_default();

    config.sync = args.sync.policy();
    config.settings.stream_memory = args.stream_memory;
    config.checkpoint_after_bytes = args.checkpoint_after;
    config.segment_bytes = args.segment_bytes;
    let (broker, shared, keeping) = if args.memory {
        let keeping = format!("in memory: --sync {} has nothing to sync", args.sync.name());
        (Broker::in_memory(config), None, keeping)
    } else {
        let broker = open(&args.dir, config)?;
        let keeping = format!("data in {}, --sync {}", args.dir.display(), args.sync.name());
        (broker, Some(Listener::in_directory(&args.dir)?), keeping)
    };
    println!("cauce {}: serving on {address}, {keeping}", env!("CARGO_PKG_VERSION"));
    if let Some(http) = &http {
        println!("cauce: HTTP API on http://{0}, described at http://{0}/v1/openapi.json", http.address());
    }
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        () = broker.serve(tcp) => {}
        () = serve_if_any(&broker, unix) => {}
        () = serve_if_any(&broker, shared) => {}
        () = broker.shutdown_requested() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        failure = broker.failed() => {
            eprintln!("cauce: {failure}");
            return Ok(ExitCode::from(LOG_FAILED));
        }
    }
    if let Some(http) = http {
        http.stop().await?;
    }
    // What was executed is answered, and programs that share the directory are told to look for its next holder.
    broker.drain(DRAIN_MAX).await;
    println!("cauce: stopped");
    Ok(ExitCode::SUCCESS)
}

async fn serve_if_any(broker: &Broker, listener: Option<Listener>) {
    match listener {
        Some(listener) => broker.serve(listener).await,
        None => std::future::pending().await,
    }
}

/// Opens the broker of a directory, and says what was found there.
fn open(directory: &Path, config: Config) -> anyhow::Result<Broker> {
    let (broker, recovery) = match Broker::open(directory, config) {
        Ok(opened) => opened,
        Err(error @ OpenError::Directory(DirectoryError::Held { .. })) => {
            let directory = directory.display();
            bail!("{error}; programs of this machine reach its broker by the URL file:{directory}");
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(torn) = &recovery.torn {
        eprintln!("cauce: {torn}; it was never confirmed to anyone");
    }
    if recovery.replayed > 0 {
        println!("cauce: {} records read from {}", recovery.replayed, directory.display());
    }
    Ok(broker)
}

/// Each connection takes a descriptor, and the usual soft limit of 1024 is far below the broker's own limit of
/// connections: it is raised as far as the system allows. Where that fails, the soft limit stands; connections
/// beyond it wait to be accepted.
pub(crate) fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _raised = setrlimit(Resource::Nofile, limit);
}

/// A number that strangers cannot guess: the standard library seeds its hashers from the system's randomness.
fn random_seed() -> u64 {
    use std::hash::BuildHasher;
    std::hash::RandomState::new().hash_one(std::process::id())
}
