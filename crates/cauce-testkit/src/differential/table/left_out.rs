//! Commands that both servers know and that no row tries.

/// A command that is not tried, and why.
#[derive(Debug, Clone, Copy)]
pub struct LeftOut {
    /// Its name as COMMAND LIST gives it; `*` at the end stands for whatever follows.
    pub name: &'static str,
    /// Why no row tries it.
    pub reason: &'static str,
}

const fn out(name: &'static str, reason: &'static str) -> LeftOut {
    LeftOut { name, reason }
}

const OWN_WORDS: &str = "what it says is of this server: versions, addresses, counters, words of help";
const CONNECTION: &str = "changes or ends the connection that the comparison runs on";
const WHOLE: &str = "stops or reshapes the whole server, the observer's connection included";
const ELSEWHERE: &str = "has a test of its own: what it says depends on users or functions, not on keys";

/// The commands without a row.
pub const LEFT_OUT: &[LeftOut] = &[
    out("acl", "a container"),
    out("acl|*", ELSEWHERE),
    out("auth", ELSEWHERE),
    out("bgrewriteaof", WHOLE),
    out("bgsave", WHOLE),
    out("client", "a container"),
    out("client|caching", CONNECTION),
    out("client|getredir", CONNECTION),
    out("client|help", OWN_WORDS),
    out("client|info", OWN_WORDS),
    out("client|kill", CONNECTION),
    out("client|list", OWN_WORDS),
    out("client|no-evict", CONNECTION),
    out("client|pause", WHOLE),
    out("client|reply", CONNECTION),
    out("client|tracking", CONNECTION),
    out("client|trackinginfo", CONNECTION),
    out("client|unpause", WHOLE),
    out("cluster", "a container"),
    out("cluster|*", OWN_WORDS),
    out("command", "what it says of shared commands has a test of its own"),
    out("command|count", OWN_WORDS),
    out("command|docs", OWN_WORDS),
    out("command|help", OWN_WORDS),
    out("command|info", "what it says of shared commands has a test of its own"),
    out("command|list", OWN_WORDS),
    out("config", "a container"),
    out("config|help", OWN_WORDS),
    out("config|resetstat", OWN_WORDS),
    out("config|rewrite", WHOLE),
    out("config|set", WHOLE),
    out("debug", WHOLE),
    out("dump", "its bytes are of a version; RESTORE's likewise"),
    out("failover", WHOLE),
    out("fcall", ELSEWHERE),
    out("fcall_ro", ELSEWHERE),
    out("function", "a container"),
    out("function|*", ELSEWHERE),
    out("info", OWN_WORDS),
    out("latency", "a container"),
    out("latency|*", OWN_WORDS),
    out("lolwut", OWN_WORDS),
    out("memory", "a container"),
    out("memory|*", "sizes are of this server"),
    out("module", "a container"),
    out("module|*", OWN_WORDS),
    out("monitor", CONNECTION),
    out("object", "a container"),
    out("object|help", OWN_WORDS),
    out("object|refcount", "which numbers are shared is an inner matter of each server"),
    out("pubsub", "a container"),
    out("pubsub|help", OWN_WORDS),
    out("quit", CONNECTION),
    out("readonly", OWN_WORDS),
    out("readwrite", OWN_WORDS),
    out("replicaof", WHOLE),
    out("restore", "its bytes are of a version; DUMP's likewise"),
    out("role", OWN_WORDS),
    out("save", WHOLE),
    out("script", "a container"),
    out("script|debug", CONNECTION),
    out("script|help", OWN_WORDS),
    out("script|kill", WHOLE),
    out("shutdown", WHOLE),
    out("slaveof", WHOLE),
    out("slowlog", "a container"),
    out("slowlog|*", OWN_WORDS),
    out("wait", WHOLE),
    out("xgroup", "a container"),
    out("xgroup|help", OWN_WORDS),
    out("xinfo", "a container"),
    out("xinfo|help", OWN_WORDS),
];
