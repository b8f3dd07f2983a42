//! What a broker says of itself.

use redis::{Pipeline, Value};

use crate::backend::address::Place;
use crate::backend::link::Link;
use crate::backend::reply;
use crate::error::CommandError;

/// What a broker says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerInfo {
    /// Which server it is: `redis`, `valkey` or `cauce`.
    pub server: String,
    /// The version of that server.
    pub version: String,
    /// The version of Redis whose behaviour it announces.
    pub redis_version: String,
    /// What survives which failure.
    pub durability: Durability,
}

/// What a confirmed publish survives, by the broker's own settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// Synced to disk before the reply: a crash of process or machine loses nothing confirmed, if the disk is honest.
    Always,
    /// Synced about once a second: a crash of the process loses nothing or little, of the machine about two seconds.
    EverySecond,
    /// Written, and synced when the operating system likes: a crash of the machine loses about 30 seconds.
    OperatingSystem,
    /// Snapshots now and then: a crash loses all since the last one.
    Snapshots,
    /// Kept in memory only: gone with the process.
    Memory,
    /// The broker does not say (its ACL may forbid CONFIG).
    Unknown,
}

impl std::fmt::Display for Durability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Always => "synced to disk before each reply",
            Self::EverySecond => "synced to disk about once a second",
            Self::OperatingSystem => "written to disk when the operating system likes",
            Self::Snapshots => "snapshots now and then",
            Self::Memory => "kept in memory only",
            Self::Unknown => "unknown",
        })
    }
}

impl BrokerInfo {
    pub(crate) async fn ask(link: &Link) -> Result<Self, CommandError> {
        let mut questions = Pipeline::new();
        questions.cmd("INFO").arg("server");
        for setting in ["appendonly", "appendfsync", "save"] {
            questions.cmd("CONFIG").arg("GET").arg(setting);
        }
        let mut replies = link.send_all(&questions).await?.into_iter();
        let info = replies
            .next()
            .transpose()?
            .and_then(reply::text)
            .ok_or(CommandError::Unexpected { command: "INFO" })?;
        let mut setting = || replies.next().and_then(Result::ok).and_then(setting);
        let (appendonly, appendfsync, save) = (setting(), setting(), setting());
        let durability = match link.endpoint().address.place {
            Place::Memory(_) => Durability::Memory,
            _ => durability(appendonly.as_deref(), appendfsync.as_deref(), save.as_deref()),
        };
        let line = |name: &str| {
            info.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(|value| value.trim().to_owned())
        };
        let redis_version = line("redis_version").unwrap_or_default();
        let (server, version) = match (line("cauce_version"), line("valkey_version")) {
            (Some(version), _) => ("cauce", version),
            (None, Some(version)) => ("valkey", version),
            (None, None) => ("redis", redis_version.clone()),
        };
        Ok(Self { server: server.to_owned(), version, redis_version, durability })
    }
}

fn setting(reply: Value) -> Option<String> {
    reply::pairs(reply)?.into_iter().next().and_then(|(_, value)| reply::text(value))
}

fn durability(appendonly: Option<&str>, appendfsync: Option<&str>, save: Option<&str>) -> Durability {
    match (appendonly, appendfsync, save) {
        (Some("yes"), Some("always"), _) => Durability::Always,
        (Some("yes"), Some("everysec"), _) => Durability::EverySecond,
        (Some("yes"), Some("no"), _) => Durability::OperatingSystem,
        (Some("no"), _, Some("")) => Durability::Memory,
        (Some("no"), _, Some(_)) => Durability::Snapshots,
        _ => Durability::Unknown,
    }
}
