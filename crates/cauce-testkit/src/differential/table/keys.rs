//! Keys of any type.

use super::{Family, Row};

const fn row(weight: u32, syntax: &'static str) -> Row {
    super::row(Family::Keys, weight, syntax)
}

pub(super) const ROWS: &[Row] = &[
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
    row(3, "RENAME {there} {key}"),
    row(2, "RENAMENX {there} {key}"),
    row(4, "COPY {key} {key} <[DB (0|1)] [REPLACE]>"),
    row(2, "MOVE {key} (1|1|1|0)"),
    row(2, "KEYS {key-pattern}"),
    row(2, "SCAN 0 <[MATCH {key-pattern}] (COUNT 100000) [TYPE {type}]>"),
    row(2, "DBSIZE"),
    row(1, "FLUSHALL [(SYNC|ASYNC)]"),
    row(1, "FLUSHDB [(SYNC|ASYNC)]"),
    row(1, "SWAPDB 0 0"),
    row(2, "TOUCH ({key})+"),
    row(1, "RANDOMKEY"),
    row(6, "OBJECT ENCODING {key}"),
    row(1, "OBJECT IDLETIME {key}"),
    row(1, "OBJECT FREQ {key}"),
    row(3, "SORT {sortable} <[LIMIT {index} {count}] [(ASC|DESC)] ALPHA>"),
    row(1, "SORT_RO {sortable} <[LIMIT {index} {count}] [(ASC|DESC)] ALPHA>"),
];
