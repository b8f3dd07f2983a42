//! The commands that are tried, one row each.

use crate::targets::Feature;

/// One command: how it is written (see the notation in `grammar.rs`) and how often it is chosen.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its syntax; the words before the first argument are its name.
    pub syntax: &'static str,
    /// How often it is chosen, relative to the others.
    pub weight: u32,
    /// What both servers must have.
    pub needs: Option<Feature>,
}

const fn row(weight: u32, syntax: &'static str) -> Row {
    Row { syntax, weight, needs: None }
}

/// Every command. A later one is one more row.
pub const ROWS: &[Row] = &[
    // Streams.
    row(
        60,
        "XADD {stream} <[NOMKSTREAM] [(MAXLEN [=] {length} | MINID [=] {id})]> {new-id} ({field} {value})+",
    ),
    row(6, "XADD {stream} (MAXLEN ~ {length} | MINID ~ {id}) [LIMIT {limit}] {new-id} ({field} {value})+"),
    row(8, "XADD auto [NOMKSTREAM] [MAXLEN {length}] * ({field} {value})+"),
    row(6, "XTRIM {stream} (MAXLEN [=] {length} | MINID [=] {id})"),
    row(2, "XTRIM {stream} (MAXLEN ~ {length} | MINID ~ {id}) [LIMIT {limit}]"),
    row(12, "XDEL {stream} ({id})+"),
    row(5, "XLEN {stream}"),
    row(14, "XRANGE {stream} {start} {end} [COUNT {count}]"),
    row(14, "XREVRANGE {stream} {end} {start} [COUNT {count}]"),
    row(10, "XREAD [COUNT {count}] STREAMS {streams-read}"),
    row(14, "XREAD <[COUNT {count}] BLOCK {timeout}> STREAMS {streams-wait}"),
    row(40, "XREADGROUP GROUP {group} {consumer} <[COUNT {count}] [NOACK]> STREAMS {streams-group}"),
    row(
        24,
        "XREADGROUP GROUP {group} {consumer} <[COUNT {count}] BLOCK {timeout} [NOACK]> STREAMS {streams-new}",
    ),
    row(20, "XACK {stream} {group} ({id})+"),
    row(10, "XPENDING {stream} {group}"),
    row(16, "XPENDING {stream} {group} [IDLE {min-idle}] {start} {end} {count} [{consumer}]"),
    row(
        24,
        "XCLAIM {stream} {group} {consumer} {min-idle} ({id})+ \
         <[(IDLE {idle}|TIME {past-ms})] [RETRYCOUNT {small}] [FORCE] [JUSTID] [LASTID {id}]>",
    ),
    row(20, "XAUTOCLAIM {stream} {group} {consumer} {min-idle} {start} <[COUNT {count}] [JUSTID]>"),
    row(24, "XGROUP CREATE {stream} {group} {cursor} <[MKSTREAM] [ENTRIESREAD {small}]>"),
    row(10, "XGROUP SETID {stream} {group} {cursor} [ENTRIESREAD {small}]"),
    row(2, "XGROUP DESTROY {stream} {group}"),
    row(5, "XGROUP CREATECONSUMER {stream} {group} {consumer}"),
    row(4, "XGROUP DELCONSUMER {stream} {group} {consumer}"),
    row(10, "XINFO STREAM {stream}"),
    row(14, "XINFO STREAM {stream} FULL [COUNT {count}]"),
    row(10, "XINFO GROUPS {stream}"),
    row(8, "XINFO CONSUMERS {stream} {group}"),
    row(4, "XSETID {stream} {new-id} <[ENTRIESADDED {small}] [MAXDELETEDID {id}]>"),
    // Keys.
    row(4, "DEL ({key})+"),
    row(2, "UNLINK ({key})+"),
    row(4, "EXISTS ({key})+"),
    row(4, "TYPE {key}"),
    row(4, "EXPIRE {key} {seconds} [(NX|XX|GT|LT)]"),
    row(3, "PEXPIRE {key} {milliseconds} [(NX|XX|GT|LT)]"),
    row(3, "EXPIREAT {key} {unix-seconds} [(NX|XX|GT|LT)]"),
    row(3, "PEXPIREAT {key} {unix-milliseconds} [(NX|XX|GT|LT)]"),
    row(3, "TTL {key}"),
    row(3, "PTTL {key}"),
    row(2, "EXPIRETIME {key}"),
    row(2, "PEXPIRETIME {key}"),
    row(3, "PERSIST {key}"),
    row(3, "RENAME {key} {key}"),
    row(2, "RENAMENX {key} {key}"),
    row(2, "KEYS {key-pattern}"),
    row(2, "SCAN 0 <[MATCH {key-pattern}] COUNT 1000 [TYPE {type}]>"),
    row(2, "DBSIZE"),
    row(1, "FLUSHALL [(SYNC|ASYNC)]"),
    row(1, "FLUSHDB"),
    // Strings.
    row(
        10,
        "SET {string-key} {value} <[(NX|XX)] [GET] [(EX {seconds}|PX {milliseconds}|EXAT {unix-seconds}|PXAT {unix-milliseconds}|KEEPTTL)]>",
    ),
    row(8, "GET {string-key}"),
    row(2, "SETNX {string-key} {value}"),
    row(2, "STRLEN {string-key}"),
    row(3, "INCR {string-key}"),
    row(2, "INCRBY {string-key} {small}"),
    row(2, "MGET ({key})+"),
    row(2, "MSET ({string-key} {value})+"),
    row(2, "TOUCH ({key})+"),
    // Pub/Sub.
    row(10, "SUBSCRIBE ({channel})+"),
    row(6, "PSUBSCRIBE ({pattern})+"),
    row(5, "SSUBSCRIBE ({channel})+"),
    row(5, "UNSUBSCRIBE ({channel})+"),
    row(3, "UNSUBSCRIBE"),
    row(3, "PUNSUBSCRIBE [({pattern})+]"),
    row(3, "SUNSUBSCRIBE [({channel})+]"),
    row(16, "PUBLISH {channel} {value}"),
    row(6, "SPUBLISH {channel} {value}"),
    row(3, "PUBSUB CHANNELS [{pattern}]"),
    row(3, "PUBSUB NUMSUB [({channel})+]"),
    row(3, "PUBSUB NUMPAT"),
    row(2, "PUBSUB SHARDCHANNELS [{pattern}]"),
    row(2, "PUBSUB SHARDNUMSUB [({channel})+]"),
    // Transactions.
    row(10, "MULTI"),
    row(5, "EXEC"),
    row(2, "DISCARD"),
    row(8, "WATCH ({key})+"),
    row(2, "UNWATCH"),
    // The connection.
    row(3, "PING [{value}]"),
    row(2, "ECHO {value}"),
    row(2, "HELLO (2|3) [SETNAME {value}]"),
    row(1, "CLIENT ID"),
    row(1, "CLIENT SETNAME {value}"),
    row(1, "CLIENT GETNAME"),
    row(10, "CLIENT UNBLOCK {client} [(TIMEOUT|ERROR)]"),
    row(1, "SELECT 0"),
    row(1, "RESET"),
    row(1, "TIME"),
    row(1, "COMMAND GETKEYS XADD {key} * f v"),
    row(1, "COMMAND GETKEYS XREADGROUP GROUP g c STREAMS {streams-new}"),
];
