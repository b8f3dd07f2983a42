//! Messages, transactions, the connection, scripts.

use super::{Family, Row};

const fn message(weight: u32, syntax: &'static str) -> Row {
    super::row(Family::PubSub, weight, syntax)
}

const fn transaction(weight: u32, syntax: &'static str) -> Row {
    super::row(Family::Transactions, weight, syntax)
}

const fn connection(weight: u32, syntax: &'static str) -> Row {
    super::row(Family::Connection, weight, syntax)
}

const fn script(weight: u32, syntax: &'static str) -> Row {
    super::row(Family::Scripts, weight, syntax)
}

pub(super) const ROWS: &[Row] = &[
    message(10, "SUBSCRIBE ({channel})+"),
    message(6, "PSUBSCRIBE ({pattern})+"),
    message(5, "SSUBSCRIBE ({channel})+"),
    message(5, "UNSUBSCRIBE ({channel})+"),
    message(3, "UNSUBSCRIBE"),
    message(3, "PUNSUBSCRIBE [({pattern})+]"),
    message(3, "SUNSUBSCRIBE [({channel})+]"),
    message(16, "PUBLISH {channel} {value}"),
    message(6, "SPUBLISH {channel} {value}"),
    message(3, "PUBSUB CHANNELS [{pattern}]"),
    message(3, "PUBSUB NUMSUB [({channel})+]"),
    message(3, "PUBSUB NUMPAT"),
    message(2, "PUBSUB SHARDCHANNELS [{pattern}]"),
    message(2, "PUBSUB SHARDNUMSUB [({channel})+]"),
    transaction(10, "MULTI"),
    transaction(5, "EXEC"),
    transaction(2, "DISCARD"),
    transaction(8, "WATCH ({key})+"),
    transaction(2, "UNWATCH"),
    connection(3, "PING [{value}]"),
    connection(2, "ECHO {value}"),
    connection(2, "HELLO (2|3) [SETNAME {client-name}]"),
    connection(1, "CLIENT ID"),
    connection(1, "CLIENT SETNAME {client-name}"),
    connection(1, "CLIENT GETNAME"),
    connection(10, "CLIENT UNBLOCK {client} [(TIMEOUT|ERROR)]"),
    connection(1, "SELECT 1"),
    connection(4, "SELECT 0"),
    connection(1, "RESET"),
    connection(1, "TIME"),
    connection(1, "LASTSAVE"),
    connection(1, "CONFIG GET {parameter}"),
    connection(1, "COMMAND GETKEYS XADD {key} * f v"),
    script(6, "EVAL {conversion} 0"),
    script(2, "EVAL_RO {conversion} 0"),
    script(2, "SCRIPT LOAD {conversion}"),
    script(8, "SCRIPT LOAD {loaded}"),
    script(2, "SCRIPT EXISTS {digest} {digest}"),
    script(5, "EVALSHA {digest} 0"),
    script(2, "EVALSHA {digest} 1 {key} {value}"),
    script(4, "EVALSHA {caller} 1 {key} (TYPE|EXISTS|PERSIST)"),
    script(3, "EVALSHA_RO {digest} 0"),
    script(2, "EVALSHA_RO {caller} 1 {key} (TYPE|EXISTS)"),
    script(2, "SCRIPT FLUSH [(SYNC|ASYNC)]"),
];
