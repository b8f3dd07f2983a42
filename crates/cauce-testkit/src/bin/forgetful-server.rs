//! A broker whose directory gets its bytes at a sync, not before, so that killing it is a power cut: see
//! `cauce_testkit::kills`. Arguments: the directory, and how to sync (`always` or `everysec`).

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use cauce_broker::{Broker, ClockSource, Config, Listener, SyncPolicy};
use cauce_testkit::forgetful::ForgetfulStorage;

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, sync] = arguments.as_slice() else {
        eprintln!("usage: forgetful-server DIRECTORY always|everysec");
        return Ok(ExitCode::from(2));
    };
    let mut config = Config::default();
    config.clock = ClockSource::System;
    config.settings.facts.process_id = std::process::id();
    config.sync = if sync == "everysec" { SyncPolicy::EverySecond } else { SyncPolicy::Always };
    // Small, so that segments are used again and checkpoints written between two kills.
    config.segment_bytes = 32 * 1024;
    config.checkpoint_after_bytes = 64 * 1024;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let listener = Listener::tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), false).await?;
        let address = listener.address().ok_or("a TCP listener has an address")?;
        let storage = Arc::new(ForgetfulStorage::open(Path::new(directory))?);
        let (broker, _) = Broker::open_storage(storage, config)?;
        println!("serving on {address}, data in {directory}");
        tokio::select! {
            () = broker.serve(listener) => Ok(ExitCode::SUCCESS),
            failure = broker.failed() => Err(failure.into()),
        }
    })
}
