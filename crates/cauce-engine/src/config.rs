//! Settings that `CONFIG GET` shows and `CONFIG SET` changes, and facts that the broker knows of itself.

use std::time::Duration;

use crate::encoding::Thresholds;
use crate::errors::{self, Error};
use crate::glob;
use crate::notify::NotifyClasses;
use crate::stream::{BlockLimits, IdempotencyLimits};

/// What the engine is made with. Names and defaults are Redis's where Redis has the setting.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// How many numbered databases there are.
    pub databases: usize,
    /// Password of the default user; empty for none.
    pub requirepass: String,
    /// Bytes of memory over which commands that need more are refused; 0 for no limit.
    pub maxmemory: u64,
    /// Bytes of memory that blocks of streams may take which are on disk too; 0 for no limit. Those sealed since the
    /// last checkpoint come on top.
    pub stream_memory: u64,
    /// Bytes that one command may need to be read from disk.
    pub stream_read_max: u64,
    /// A stream block is sealed at this many bytes; 0 for no limit.
    pub stream_node_max_bytes: usize,
    /// A stream block is sealed at this many entries; 0 for no limit.
    pub stream_node_max_entries: usize,
    /// Seconds that the marks of idempotent producers are kept, where a stream does not say otherwise.
    pub stream_idmp_duration: u64,
    /// Marks per producer that are kept, where a stream does not say otherwise.
    pub stream_idmp_maxsize: u64,
    /// Denials that ACL LOG keeps.
    pub acllog_max_len: usize,
    /// What generated passwords are made from: random, and told to nobody.
    pub secret: [u8; 32],
    /// Most clients that may be blocked at a time. Redis has no such limit.
    pub blocked_clients_max: usize,
    /// Most subscriptions of one connection. Redis has no such limit.
    pub subscriptions_max: usize,
    /// Most commands between `MULTI` and `EXEC`. Redis has no such limit.
    pub transaction_commands_max: usize,
    /// Longest string value, in bytes (Redis: `proto-max-bulk-len`).
    pub proto_max_bulk_len: usize,
    /// Milliseconds after which a running script makes the broker answer `BUSY`; 0 for never.
    pub busy_reply_threshold_ms: u64,
    /// Bytes that all that scripts hold may take; a script that needs more ends with an error. 0 for no limit. Redis
    /// has no such limit.
    pub script_memory_max: usize,
    /// Seed of the hash tables, so that strangers cannot choose colliding keys. Does not change any reply.
    pub hash_seed: u64,
    /// What is wrong on purpose.
    #[cfg(feature = "seeded-faults")]
    pub fault: crate::faults::Fault,
    /// What the broker knows of itself.
    pub facts: Facts,
    pub(crate) notify: NotifyClasses,
    pub(crate) thresholds: Thresholds,
}

/// What only the broker knows and `INFO`, `HELLO` and `CONFIG GET` show.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Facts {
    /// Version of Cauce.
    pub version: &'static str,
    /// Forty hexadecimal digits that differ at every start.
    pub run_id: String,
    /// The process.
    pub process_id: u32,
    /// TCP port, or 0.
    pub port: u16,
    /// Path of the Unix socket, or empty.
    pub unix_socket: String,
    /// Addresses that are listened on.
    pub bind: String,
    /// Most connections at a time.
    pub maxclients: usize,
    /// Directory of the data, or empty when it is kept in memory only.
    pub directory: String,
    /// Whether there is a log on disk.
    pub appendonly: bool,
    /// When it is synced: `always`, `everysec` or `no`.
    pub appendfsync: &'static str,
    /// Why the log has failed, if it has: only reads are answered, and what needs no data.
    pub log_failure: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            databases: 16,
            requirepass: String::new(),
            maxmemory: 0,
            stream_memory: 256 * 1024 * 1024,
            stream_read_max: 256 * 1024 * 1024,
            stream_node_max_bytes: 4096,
            stream_node_max_entries: 100,
            stream_idmp_duration: IDMP_DURATION_S.default,
            stream_idmp_maxsize: IDMP_MAXSIZE.default,
            acllog_max_len: 128,
            secret: [0; 32],
            blocked_clients_max: 100_000,
            subscriptions_max: 1_000_000,
            transaction_commands_max: 1_000_000,
            proto_max_bulk_len: 512 * 1024 * 1024,
            busy_reply_threshold_ms: 5000,
            script_memory_max: 512 * 1024 * 1024,
            hash_seed: 0,
            #[cfg(feature = "seeded-faults")]
            fault: crate::faults::Fault::default(),
            facts: Facts::default(),
            notify: NotifyClasses::default(),
            thresholds: Thresholds::default(),
        }
    }
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            run_id: "0".repeat(40),
            process_id: 0,
            port: 0,
            unix_socket: String::new(),
            bind: String::new(),
            maxclients: 10_000,
            directory: String::new(),
            appendonly: false,
            appendfsync: "always",
            log_failure: String::new(),
        }
    }
}

type Show = fn(&Settings) -> String;
type Change = fn(&mut Settings, &str) -> Result<(), Error>;

/// One parameter: how it is shown and, if it can be changed, how.
struct Parameter {
    name: &'static str,
    show: Show,
    change: Option<Change>,
}

/// Parameters that clients ask for. Those that are fixed here say what is true of this broker.
const PARAMETERS: &[Parameter] = &[
    changeable(
        "acllog-max-len",
        |s| s.acllog_max_len.to_string(),
        |s, text| {
            s.acllog_max_len = whole_number("acllog-max-len", text)?;
            Ok(())
        },
    ),
    fixed("appendfsync", |s| s.facts.appendfsync.to_owned()),
    fixed("appendonly", |s| if s.facts.appendonly { "yes" } else { "no" }.to_owned()),
    fixed("bind", |s| s.facts.bind.clone()),
    changeable("busy-reply-threshold", busy_threshold, set_busy_threshold),
    fixed("databases", |s| s.databases.to_string()),
    fixed("dir", |s| s.facts.directory.clone()),
    changeable(
        "hash-max-listpack-entries",
        |s| s.thresholds.hash.entries.to_string(),
        |s, text| {
            s.thresholds.hash.entries = whole_number("hash-max-listpack-entries", text)?;
            Ok(())
        },
    ),
    changeable(
        "hash-max-listpack-value",
        |s| s.thresholds.hash.value_bytes.to_string(),
        |s, text| {
            s.thresholds.hash.value_bytes = memory_count("hash-max-listpack-value", text)?;
            Ok(())
        },
    ),
    changeable(
        "hash-max-ziplist-entries",
        |s| s.thresholds.hash.entries.to_string(),
        |s, text| {
            s.thresholds.hash.entries = whole_number("hash-max-ziplist-entries", text)?;
            Ok(())
        },
    ),
    changeable(
        "hash-max-ziplist-value",
        |s| s.thresholds.hash.value_bytes.to_string(),
        |s, text| {
            s.thresholds.hash.value_bytes = memory_count("hash-max-ziplist-value", text)?;
            Ok(())
        },
    ),
    changeable("lua-time-limit", busy_threshold, set_busy_threshold),
    fixed("maxclients", |s| s.facts.maxclients.to_string()),
    changeable(
        "maxmemory",
        |s| s.maxmemory.to_string(),
        |s, text| {
            s.maxmemory = memory_size("maxmemory", text)?;
            Ok(())
        },
    ),
    fixed("maxmemory-policy", |_| "noeviction".to_owned()),
    changeable(
        "notify-keyspace-events",
        |s| s.notify.to_string(),
        |s, text| {
            s.notify = NotifyClasses::parse(text).ok_or(errors::NOTIFY_FLAGS)?;
            Ok(())
        },
    ),
    fixed("port", |s| s.facts.port.to_string()),
    fixed("proto-max-bulk-len", |s| s.proto_max_bulk_len.to_string()),
    changeable(
        "requirepass",
        |s| s.requirepass.clone(),
        |s, text| {
            text.clone_into(&mut s.requirepass);
            Ok(())
        },
    ),
    fixed("save", |_| String::new()),
    changeable(
        "set-max-intset-entries",
        |s| s.thresholds.intset_entries.to_string(),
        |s, text| {
            s.thresholds.intset_entries = whole_number("set-max-intset-entries", text)?;
            Ok(())
        },
    ),
    changeable(
        "set-max-listpack-entries",
        |s| s.thresholds.set.entries.to_string(),
        |s, text| {
            s.thresholds.set.entries = whole_number("set-max-listpack-entries", text)?;
            Ok(())
        },
    ),
    changeable(
        "set-max-listpack-value",
        |s| s.thresholds.set.value_bytes.to_string(),
        |s, text| {
            s.thresholds.set.value_bytes = memory_count("set-max-listpack-value", text)?;
            Ok(())
        },
    ),
    changeable(
        "stream-idmp-duration",
        |s| s.stream_idmp_duration.to_string(),
        |s, text| {
            s.stream_idmp_duration = IDMP_DURATION_S.parse("stream-idmp-duration", text)?;
            Ok(())
        },
    ),
    changeable(
        "stream-idmp-maxsize",
        |s| s.stream_idmp_maxsize.to_string(),
        |s, text| {
            s.stream_idmp_maxsize = IDMP_MAXSIZE.parse("stream-idmp-maxsize", text)?;
            Ok(())
        },
    ),
    changeable(
        "stream-memory",
        |s| s.stream_memory.to_string(),
        |s, text| {
            s.stream_memory = memory_count("stream-memory", text)? as u64;
            Ok(())
        },
    ),
    changeable(
        "stream-node-max-bytes",
        |s| s.stream_node_max_bytes.to_string(),
        |s, text| {
            s.stream_node_max_bytes = memory_count("stream-node-max-bytes", text)?;
            Ok(())
        },
    ),
    changeable(
        "stream-node-max-entries",
        |s| s.stream_node_max_entries.to_string(),
        |s, text| {
            s.stream_node_max_entries = whole_number("stream-node-max-entries", text)?;
            Ok(())
        },
    ),
    changeable(
        "stream-read-max",
        |s| s.stream_read_max.to_string(),
        |s, text| {
            s.stream_read_max = memory_count("stream-read-max", text)? as u64;
            Ok(())
        },
    ),
    fixed("timeout", |_| "0".to_owned()),
    fixed("unixsocket", |s| s.facts.unix_socket.clone()),
    changeable(
        "zset-max-listpack-entries",
        |s| s.thresholds.sorted_set.entries.to_string(),
        |s, text| {
            s.thresholds.sorted_set.entries = whole_number("zset-max-listpack-entries", text)?;
            Ok(())
        },
    ),
    changeable(
        "zset-max-listpack-value",
        |s| s.thresholds.sorted_set.value_bytes.to_string(),
        |s, text| {
            s.thresholds.sorted_set.value_bytes = memory_count("zset-max-listpack-value", text)?;
            Ok(())
        },
    ),
    changeable(
        "zset-max-ziplist-entries",
        |s| s.thresholds.sorted_set.entries.to_string(),
        |s, text| {
            s.thresholds.sorted_set.entries = whole_number("zset-max-ziplist-entries", text)?;
            Ok(())
        },
    ),
    changeable(
        "zset-max-ziplist-value",
        |s| s.thresholds.sorted_set.value_bytes.to_string(),
        |s, text| {
            s.thresholds.sorted_set.value_bytes = memory_count("zset-max-ziplist-value", text)?;
            Ok(())
        },
    ),
];

const fn fixed(name: &'static str, show: Show) -> Parameter {
    Parameter { name, show, change: None }
}

const fn changeable(name: &'static str, show: Show, change: Change) -> Parameter {
    Parameter { name, show, change: Some(change) }
}

fn busy_threshold(settings: &Settings) -> String {
    settings.busy_reply_threshold_ms.to_string()
}

fn set_busy_threshold(settings: &mut Settings, text: &str) -> Result<(), Error> {
    settings.busy_reply_threshold_ms = whole_number("busy-reply-threshold", text)? as u64;
    Ok(())
}

impl Settings {
    /// After how long a script makes the broker answer `BUSY`, if ever.
    pub(crate) fn busy_reply_threshold(&self) -> Option<Duration> {
        let ms = self.busy_reply_threshold_ms;
        (ms > 0).then(|| Duration::from_millis(ms))
    }

    /// How a stream keeps marks that says nothing of it.
    pub(crate) fn idempotency_limits(&self) -> IdempotencyLimits {
        IdempotencyLimits { duration_s: self.stream_idmp_duration, max_size: self.stream_idmp_maxsize }
    }

    /// When a stream's block is full.
    pub(crate) fn block_limits(&self) -> BlockLimits {
        let clamp = |limit: usize| u32::try_from(limit).unwrap_or(u32::MAX);
        BlockLimits {
            max_entries: clamp(self.stream_node_max_entries),
            max_bytes: clamp(self.stream_node_max_bytes),
        }
    }

    /// Names and values of the parameters that match any of the patterns. What is asked for by its name is called as it was
    /// spelt first.
    pub(crate) fn matching(&self, patterns: &[&[u8]]) -> Vec<(String, String)> {
        let spelling = |name: &str, pattern: &[u8]| {
            if pattern.iter().any(|byte| b"[*?".contains(byte)) {
                return glob::matches(&pattern.to_ascii_lowercase(), name.as_bytes())
                    .then(|| name.to_owned());
            }
            crate::commands::is(pattern, name).then(|| String::from_utf8_lossy(pattern).into_owned())
        };
        let found = PARAMETERS.iter().filter_map(|parameter| {
            let name = patterns.iter().find_map(|pattern| spelling(parameter.name, pattern))?;
            Some((name, (parameter.show)(self)))
        });
        found.collect()
    }

    /// Changes several parameters; if one is refused none is changed.
    pub(crate) fn change(&mut self, pairs: &[&[u8]]) -> Result<(), Error> {
        let mut changed = self.clone();
        for pair in pairs.chunks_exact(2) {
            let [name, value] = pair else { return Err(errors::SYNTAX) };
            let lower = name.to_ascii_lowercase();
            let parameter = PARAMETERS.iter().find(|parameter| parameter.name.as_bytes() == lower);
            let parameter = parameter.ok_or_else(|| errors::config_unknown(name))?;
            let value = String::from_utf8_lossy(value);
            let Some(change) = parameter.change else {
                // What is so already may be asked for.
                if (parameter.show)(self) == value {
                    continue;
                }
                return Err(errors::config_refused(parameter.name, "can't set immutable config"));
            };
            change(&mut changed, &value)?;
        }
        *self = changed;
        Ok(())
    }
}

/// A number within limits.
#[derive(Debug)]
pub(crate) struct Bounded {
    pub(crate) min: u64,
    pub(crate) max: u64,
    default: u64,
}

pub(crate) const IDMP_DURATION_S: Bounded = Bounded { min: 1, max: 86_400, default: 100 };
pub(crate) const IDMP_MAXSIZE: Bounded = Bounded { min: 1, max: 10_000, default: 100 };

impl Bounded {
    fn parse(&self, name: &str, text: &str) -> Result<u64, Error> {
        let number = whole_number(name, text)? as u64;
        if (self.min..=self.max).contains(&number) {
            return Ok(number);
        }
        let reason = format!("argument must be between {} and {} inclusive", self.min, self.max);
        Err(errors::config_refused(name, &reason))
    }
}

fn whole_number(name: &str, text: &str) -> Result<usize, Error> {
    text.parse().map_err(|_| errors::config_refused(name, "argument couldn't be parsed into an integer"))
}

fn memory_count(name: &str, text: &str) -> Result<usize, Error> {
    memory_size(name, text).map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
}

/// Bytes with Redis's units: `k` 1000, `kb` 1024, and so on.
fn memory_size(name: &str, text: &str) -> Result<u64, Error> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match lower.get(digits.len()..).unwrap_or_default() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return Err(errors::config_refused(name, "argument must be a memory value")),
    };
    let number: u64 =
        digits.parse().map_err(|_| errors::config_refused(name, "argument must be a memory value"))?;
    number.checked_mul(unit).ok_or_else(|| errors::config_refused(name, "argument must be a memory value"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_sorted_and_found_by_pattern() {
        assert!(PARAMETERS.windows(2).all(|pair| pair[0].name < pair[1].name));
        let settings = Settings::default();
        assert_eq!(
            settings.matching(&[b"APPENDONLY", b"*only"]),
            [("APPENDONLY".to_owned(), "no".to_owned())]
        );
        assert_eq!(settings.matching(&[b"stream-node-*"]).len(), 2);
    }

    #[test]
    fn a_change_is_all_or_nothing() {
        let mut settings = Settings::default();
        settings.change(&[b"maxmemory", b"1mb"]).expect("a memory value");
        assert_eq!(settings.maxmemory, 1 << 20);
        let refused = settings.change(&[b"maxmemory", b"5", b"port", b"1"]).expect_err("port is fixed");
        assert!(refused.text().contains("immutable"));
        assert_eq!(settings.maxmemory, 1 << 20);
        assert!(settings.change(&[b"nope", b"1"]).is_err());
        settings.change(&[b"save", b""]).expect("it is so already");
    }
}
