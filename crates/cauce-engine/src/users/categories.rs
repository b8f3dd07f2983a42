//! The ACL categories of commands, as they follow from the command table.

use crate::command::{CommandSpec, Flags};

/// The categories, in Redis's order.
pub(crate) const CATEGORIES: [&str; 21] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

/// Keyspace commands of other groups than `generic`.
const KEYSPACE: [&str; 9] = [
    "dbsize",
    "flushall",
    "flushdb",
    "swapdb",
    "migrate",
    "restore-asking",
    "object",
    "expiretime",
    "pexpiretime",
];

/// What may harm others without being for administrators only.
const DANGEROUS: [&str; 14] = [
    "flushall",
    "flushdb",
    "swapdb",
    "info",
    "keys",
    "migrate",
    "restore",
    "restore-asking",
    "role",
    "sort",
    "sort_ro",
    "client|list",
    "client|kill",
    "latency|graph",
];

/// Categories that follow from flags.
const FLAGGED: [&str; 8] = ["read", "write", "pubsub", "admin", "fast", "slow", "blocking", "connection"];

/// The category of this name, which may be in any case.
pub(crate) fn category_named(name: &[u8]) -> Option<&'static str> {
    CATEGORIES.into_iter().find(|category| name.eq_ignore_ascii_case(category.as_bytes()))
}

/// Whether a command or subcommand is of a category.
pub(crate) fn is_in(spec: &CommandSpec, category: &str) -> bool {
    let has = |flag: Flags| spec.flags.has(flag);
    match category {
        // Containers have no category of their own but how slow they are.
        _ if !spec.subcommands.is_empty() && !FLAGGED.contains(&category) => false,
        "keyspace" => {
            (spec.group == "generic" && !is_one(spec, &["wait", "waitaof", "sort", "sort_ro"]))
                || is_one(spec, &KEYSPACE)
        }
        "read" => has(Flags::READONLY) && spec.group != "scripting",
        "write" => has(Flags::WRITE),
        "set" => spec.group == "set" || is_one(spec, &["sort", "sort_ro"]),
        "sortedset" => spec.group == "sorted-set" || is_one(spec, &["sort", "sort_ro"]),
        "list" => spec.group == "list" || is_one(spec, &["sort", "sort_ro"]),
        "pubsub" => has(Flags::PUBSUB),
        "admin" => has(Flags::ADMIN),
        "fast" => has(Flags::FAST),
        "slow" => !has(Flags::FAST),
        "blocking" => has(Flags::BLOCKING),
        "dangerous" => has(Flags::ADMIN) || is_one(spec, &DANGEROUS),
        "connection" => has(Flags::CONNECTION) || is_one(spec, &["wait", "waitaof"]),
        "scripting" => spec.group == "scripting" || is_one(spec, &["function"]),
        "transaction" => spec.group == "transactions",
        group => spec.group == group,
    }
}

/// All categories of a command, without the `@`.
pub(crate) fn of(spec: &CommandSpec) -> Vec<&'static str> {
    CATEGORIES.into_iter().filter(|category| is_in(spec, category)).collect()
}

/// Whether the command, or the container that it belongs to, is among `names`.
fn is_one(spec: &CommandSpec, names: &[&str]) -> bool {
    let container = spec.name.split('|').next().unwrap_or_default();
    names.contains(&spec.name) || names.contains(&container)
}
