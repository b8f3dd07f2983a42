//! `cauce serve`: holds a broker that speaks Redis's protocol.

mod disk;
mod http;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use cauce_broker::{
    Broker, ClockSource, Config, DirectoryError, Failure, Listener, OpenError, Settings, SyncPolicy,
};
use futures_util::future::join_all;
use tokio::signal::unix::{Signal, SignalKind, signal};

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
    /// What to do when the disk has refused a write or a sync: end with exit code 74, or stay for those who read.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = OnLogFailure::Exit, conflicts_with = "memory")]
    on_log_failure: OnLogFailure,
    /// The mistake that the log makes.
    #[cfg(feature = "seeded-faults")]
    #[arg(long, value_enum)]
    seeded_fault: Option<SeededFault>,
    #[command(flatten)]
    http: HttpArgs,
}

/// Mistakes that tests must find.
#[cfg(feature = "seeded-faults")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum SeededFault {
    SkipSync,
    ReplyBeforeSync,
    SkipDirectorySync,
}

/// What to do when the disk has refused a write or a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum OnLogFailure {
    /// End with exit code 74.
    Exit,
    /// Answer reads of what is known to be on disk, and PING and INFO; nothing else. Ends with exit code 74 when it is stopped.
    Stay,
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

    let mut http = Http::start(args.http, address, &args.requirepass)?;

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
    #[cfg(feature = "seeded-faults")]
    {
        config.log_mutant = args.seeded_fault.map(|fault| match fault {
            SeededFault::SkipSync => cauce_broker::Mutant::SkipSync,
            SeededFault::ReplyBeforeSync => cauce_broker::Mutant::PublishBeforeSync,
            SeededFault::SkipDirectorySync => cauce_broker::Mutant::SkipDirectorySync,
        });
    }
    let mut listeners: Vec<Listener> = [Some(tcp), unix].into_iter().flatten().collect();
    let (broker, keeping) = if args.memory {
        let keeping = format!("in memory: --sync {} has nothing to sync", args.sync.name());
        (Broker::in_memory(config.clone()), keeping)
    } else {
        let broker = open(&args.dir, config.clone())?;
        listeners.push(Listener::in_directory(&args.dir)?);
        (broker, format!("data in {}, --sync {}", args.dir.display(), args.sync.name()))
    };
    println!("cauce {}: serving on {address}, {keeping}", env!("CARGO_PKG_VERSION"));
    if let Some(http) = &http {
        println!("cauce: HTTP API on http://{0}, described at http://{0}/v1/openapi.json", http.address());
    }
    let mut signals = Signals::new()?;
    let failure = until_it_ends(&broker, &listeners, &mut signals).await;
    let code = match (failure, args.on_log_failure) {
        (None, _) => {
            // What is under way there needs the broker.
            if let Some(http) = http.take() {
                http.stop().await?;
            }
            finish(broker, listeners).await;
            ExitCode::SUCCESS
        }
        (Some(failure), OnLogFailure::Exit) => {
            eprintln!("cauce: {failure}");
            // No end in order: nothing that is under way can become durable.
            return Ok(ExitCode::from(LOG_FAILED));
        }
        (Some(failure), OnLogFailure::Stay) => {
            eprintln!("cauce: {failure}");
            let broker = stay(broker, config).await?;
            until_it_ends(&broker, &listeners, &mut signals).await;
            finish(broker, listeners).await;
            ExitCode::from(LOG_FAILED)
        }
    };
    if let Some(http) = http {
        http.stop().await?;
    }
    println!("cauce: stopped");
    Ok(code)
}

/// What tells the process to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }
}

/// Serves until the process is to stop, or the disk has failed.
async fn until_it_ends(broker: &Broker, listeners: &[Listener], signals: &mut Signals) -> Option<Failure> {
    tokio::select! {
        _ = join_all(listeners.iter().map(|listener| broker.serve(listener))) => None,
        () = disk::watch(broker) => None,
        () = broker.shutdown_requested() => None,
        _ = signals.terminate.recv() => None,
        _ = signals.interrupt.recv() => None,
        failure = broker.failed() => Some(failure),
    }
}

/// What was executed is answered, and programs that share the directory are told to look for its next holder.
async fn finish(broker: Broker, listeners: Vec<Listener>) {
    drop(listeners);
    broker.drain(DRAIN_MAX).await;
}

/// Goes on with what is known to be on disk, for those who read.
async fn stay(broker: Broker, config: Config) -> anyhow::Result<Broker> {
    let remains = broker.remains().context("the log has failed")?;
    broker.disconnect_all();
    broker.drain(DRAIN_MAX).await;
    // Its memory is needed for the same once more.
    drop(broker);
    let position = remains.position();
    let broker = remains.read(config)?;
    eprintln!(
        "cauce: staying for those who read: the state as of record {position}, the last one known to be on disk; everything else is refused until the broker is started again"
    );
    Ok(broker)
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
