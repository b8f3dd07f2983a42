//! The command table: one row per command, read by dispatch, `COMMAND`, the docs and the coverage test.

use std::collections::HashMap;

use crate::call::{Call, Flow};
use crate::errors::Error;

/// What runs a command. `args[0]` is its name; arity has been checked.
pub(crate) type Handler = fn(&mut Call<'_>, &[&[u8]]) -> Result<Flow, Error>;

/// One command or subcommand.
#[derive(Debug)]
pub(crate) struct CommandSpec {
    /// Lower case; a subcommand's is `container|name`, as Redis names it.
    pub(crate) name: &'static str,
    /// Exact number of arguments with the name, or, if negative, the least number.
    pub(crate) arity: i32,
    pub(crate) flags: Flags,
    pub(crate) keys: Keys,
    pub(crate) group: &'static str,
    /// The Redis version that brought it.
    pub(crate) since: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) complexity: &'static str,
    pub(crate) run: Handler,
    /// Subcommands of a container; `run` is not called then.
    pub(crate) subcommands: &'static [Self],
}

/// Properties of a command that dispatch and clients need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flags(u32);

impl Flags {
    pub(crate) const NONE: Self = Self(0);
    /// May change the keyspace.
    pub(crate) const WRITE: Self = Self(1);
    pub(crate) const READONLY: Self = Self(1 << 1);
    /// Refused when memory is used up.
    pub(crate) const DENYOOM: Self = Self(1 << 2);
    pub(crate) const ADMIN: Self = Self(1 << 3);
    pub(crate) const PUBSUB: Self = Self(1 << 4);
    pub(crate) const NOSCRIPT: Self = Self(1 << 5);
    pub(crate) const BLOCKING: Self = Self(1 << 6);
    pub(crate) const FAST: Self = Self(1 << 7);
    /// Allowed before authentication.
    pub(crate) const NO_AUTH: Self = Self(1 << 8);
    /// Refused between MULTI and EXEC.
    pub(crate) const NO_MULTI: Self = Self(1 << 9);
    pub(crate) const MOVABLE_KEYS: Self = Self(1 << 10);
    pub(crate) const LOADING: Self = Self(1 << 11);
    pub(crate) const STALE: Self = Self(1 << 12);
    /// Connection commands of every client; only decides ACL categories.
    pub(crate) const CONNECTION: Self = Self(1 << 13);
    pub(crate) const ALLOW_BUSY: Self = Self(1 << 14);
    /// Not told to MONITOR as it is: what it runs is.
    pub(crate) const SKIP_MONITOR: Self = Self(1 << 17);
    /// Not in the slow log as it is: what it runs is.
    pub(crate) const SKIP_SLOWLOG: Self = Self(1 << 18);
    /// Its keys may be none.
    pub(crate) const NO_MANDATORY_KEYS: Self = Self(1 << 19);
    /// Allowed to a RESP2 connection that has subscribed. Not shown.
    pub(crate) const SUBSCRIBER: Self = Self(1 << 15);
    /// Runs at once even between MULTI and EXEC. Not shown.
    pub(crate) const IMMEDIATE: Self = Self(1 << 16);

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names that `COMMAND` shows, in Redis's order.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        const SHOWN: [(Flags, &str); 17] = [
            (Flags::WRITE, "write"),
            (Flags::READONLY, "readonly"),
            (Flags::DENYOOM, "denyoom"),
            (Flags::ADMIN, "admin"),
            (Flags::PUBSUB, "pubsub"),
            (Flags::NOSCRIPT, "noscript"),
            (Flags::BLOCKING, "blocking"),
            (Flags::LOADING, "loading"),
            (Flags::STALE, "stale"),
            (Flags::SKIP_MONITOR, "skip_monitor"),
            (Flags::SKIP_SLOWLOG, "skip_slowlog"),
            (Flags::FAST, "fast"),
            (Flags::NO_AUTH, "no_auth"),
            (Flags::NO_MANDATORY_KEYS, "no_mandatory_keys"),
            (Flags::NO_MULTI, "no_multi"),
            (Flags::MOVABLE_KEYS, "movablekeys"),
            (Flags::ALLOW_BUSY, "allow_busy"),
        ];
        SHOWN.into_iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, name)| name)
    }
}

/// Where a command's keys stand among its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    None,
    /// From the first to the last argument position (negative: from the end), every `step`-th.
    Range {
        first: usize,
        last: isize,
        step: usize,
    },
    /// No keys but shard channels, from the first position to the last: shown to clients, which route by them.
    Channels {
        last: isize,
    },
    /// As many as the argument at `at` says, behind it.
    Counted {
        at: usize,
    },
    /// The first argument, and those that are counted.
    TargetAndCounted {
        at: usize,
    },
    /// The first half of what follows the word `STREAMS`; in a command that will be refused, the first such
    /// word from `from` on, where Redis looks for it.
    AfterStreams {
        from: usize,
    },
}

impl Keys {
    /// One key at position 1.
    pub(crate) const FIRST: Self = Self::Range { first: 1, last: 1, step: 1 };
    /// All arguments are keys.
    pub(crate) const ALL: Self = Self::Range { first: 1, last: -1, step: 1 };
    /// The key of a subcommand.
    pub(crate) const SECOND: Self = Self::Range { first: 2, last: 2, step: 1 };

    /// The keys among `args`, which have the command's arity.
    pub(crate) fn of<'a>(self, args: &[&'a [u8]]) -> Vec<&'a [u8]> {
        match self {
            Self::None | Self::Channels { .. } => Vec::new(),
            Self::Range { first, last, step } => {
                let last =
                    if last < 0 { args.len().saturating_add_signed(last) } else { last.unsigned_abs() };
                let count = (last + 1).saturating_sub(first);
                args.iter().skip(first).take(count).step_by(step).copied().collect()
            }
            Self::Counted { at } => {
                let count = args.get(at).and_then(|count| cauce_resp::parse_i64(count));
                let count = count.and_then(|count| usize::try_from(count).ok()).unwrap_or_default();
                // Of a count that is too large, none.
                args.get(at + 1..).and_then(|rest| rest.get(..count)).unwrap_or_default().to_vec()
            }
            Self::TargetAndCounted { at } => {
                let mut keys = Self::Counted { at }.of(args);
                if !keys.is_empty() {
                    keys.insert(0, args.get(1).copied().unwrap_or_default());
                }
                keys
            }
            Self::AfterStreams { from } => {
                let at = streams_word(args).or_else(|| {
                    let mut words = args.iter().skip(from);
                    words.position(|word| word.eq_ignore_ascii_case(b"streams")).map(|at| from + at)
                });
                let rest = at.and_then(|at| args.get(at + 1..)).unwrap_or_default();
                rest.iter().take(rest.len() / 2).copied().collect()
            }
        }
    }
}

/// Where the word `STREAMS` of XREAD and XREADGROUP stands: not a group or consumer of that name.
fn streams_word(args: &[&[u8]]) -> Option<usize> {
    let mut at = 1;
    loop {
        let word = args.get(at)?;
        let is = |names: &[&str]| names.iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes()));
        at += match () {
            () if is(&["streams"]) => return Some(at),
            () if is(&["group"]) => 3,
            () if is(&["count", "block", "claim", "maxcount", "maxsize"]) => 2,
            () if is(&["noack"]) => 1,
            // The command will be refused.
            () => return None,
        };
    }
}

impl CommandSpec {
    /// A row with what most have: no keys, in constant time, no subcommands, of the group of generic commands.
    /// A family adds what is its own.
    pub(crate) const fn new(
        name: &'static str,
        arity: i32,
        flags: Flags,
        since: &'static str,
        summary: &'static str,
        run: Handler,
    ) -> Self {
        Self {
            name,
            arity,
            flags,
            keys: Keys::None,
            group: "generic",
            since,
            summary,
            complexity: "O(1)",
            run,
            subcommands: &[],
        }
    }

    /// Whether it is answered when the log has failed: it only reads, or asks of the connection or the server.
    pub(crate) fn needs_no_log(&self) -> bool {
        let name = self.name.split('|').next().unwrap_or_default();
        self.flags.has(Flags::READONLY)
            || self.group == "connection"
            || ["command", "info", "shutdown", "time"].contains(&name)
            || self.name == "config|get"
    }

    /// Whether `count` arguments (with the name) are as many as the command takes.
    pub(crate) fn accepts(&self, count: usize) -> bool {
        let wanted = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { count >= wanted } else { count == wanted }
    }
}

/// Finds rows by name.
#[derive(Debug)]
pub(crate) struct CommandTable {
    by_name: HashMap<&'static str, &'static CommandSpec, foldhash::fast::FixedState>,
}

/// No command has a longer name.
const NAME_BYTES_MAX: usize = 32;

impl CommandTable {
    pub(crate) fn new(families: &[&'static [CommandSpec]]) -> Self {
        let rows = families.iter().flat_map(|rows| rows.iter());
        let by_name: HashMap<_, _, _> = rows.map(|spec| (spec.name, spec)).collect();
        Self { by_name }
    }

    /// The row of a command, by its name in any case.
    pub(crate) fn find(&self, name: &[u8]) -> Option<&'static CommandSpec> {
        let mut lower = [0; NAME_BYTES_MAX];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        self.by_name.get(std::str::from_utf8(lower).ok()?).copied()
    }

    /// The row of a subcommand, by its name in any case.
    pub(crate) fn find_sub(container: &CommandSpec, name: &[u8]) -> Option<&'static CommandSpec> {
        let own_name = |spec: &&CommandSpec| {
            spec.name.split_once('|').is_some_and(|(_, own)| own.as_bytes().eq_ignore_ascii_case(name))
        };
        container.subcommands.iter().find(own_name)
    }

    /// All rows, by name.
    pub(crate) fn sorted(&self) -> Vec<&'static CommandSpec> {
        let mut rows: Vec<_> = self.by_name.values().copied().collect();
        rows.sort_unstable_by_key(|spec| spec.name);
        rows
    }

    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }
}
