//! Streams.

use super::{Family, Row};

const fn row(weight: u32, syntax: &'static str) -> Row {
    super::row(Family::Streams, weight, syntax)
}

const fn wait(weight: u32, syntax: &'static str) -> Row {
    super::row(Family::Waiting, weight, syntax)
}

pub(super) const ROWS: &[Row] = &[
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
    row(40, "XREADGROUP GROUP {group-read} {consumer} <[COUNT {count}] [NOACK]> STREAMS {streams-group}"),
    row(20, "XACK {stream} {group} ({id})+"),
    row(10, "XPENDING {stream} {group}"),
    row(16, "XPENDING {stream} {group} [IDLE {min-idle}] {start} {end} {count} [{consumer}]"),
    row(
        24,
        "XCLAIM {stream} {group} {consumer} {min-idle} ({id})+ \
         <[(IDLE {idle}|TIME {past-ms})] [RETRYCOUNT {small}] [FORCE] [JUSTID] [LASTID {id}]>",
    ),
    row(20, "XAUTOCLAIM {stream} {group} {consumer} {min-idle} {start} <[COUNT {count}] [JUSTID]>"),
    row(16, "XGROUP CREATE {stream} {new-group} {cursor} <[MKSTREAM] [ENTRIESREAD {small}]>"),
    row(10, "XGROUP SETID {stream} {group} {cursor} [ENTRIESREAD {small}]"),
    row(4, "XGROUP DESTROY {stream} {group}"),
    row(5, "XGROUP CREATECONSUMER {stream} {group} {consumer}"),
    row(4, "XGROUP DELCONSUMER {stream} {group} {consumer}"),
    row(10, "XINFO STREAM {stream}"),
    row(14, "XINFO STREAM {stream} FULL [COUNT {count}]"),
    row(10, "XINFO GROUPS {stream}"),
    row(8, "XINFO CONSUMERS {stream} {group}"),
    row(4, "XSETID {stream} {later-id} <[ENTRIESADDED {small}] [MAXDELETEDID {id}]>"),
    wait(14, "XREAD <[COUNT {count}] (BLOCK {timeout})> STREAMS {streams-wait}"),
    wait(
        24,
        "XREADGROUP GROUP {group-read} {consumer} <[COUNT {count}] (BLOCK {timeout}) [NOACK]> STREAMS {streams-new}",
    ),
];
