//! Strings.

use super::{Family, Row};

const fn row(weight: u32, syntax: &'static str) -> Row {
    super::row(Family::Strings, weight, syntax)
}

pub(super) const ROWS: &[Row] = &[
    row(
        14,
        "SET {string} {text} <[(NX|XX)] [GET] [(EX {seconds}|PX {milliseconds}|EXAT {unix-seconds}|PXAT {unix-milliseconds}|KEEPTTL)]>",
    ),
    row(8, "GET {string}"),
    row(2, "SETNX {string} {text}"),
    row(2, "SETEX {string} {seconds} {text}"),
    row(2, "PSETEX {string} {milliseconds} {text}"),
    row(2, "STRLEN {string}"),
    row(4, "APPEND {string} {text}"),
    row(3, "GETRANGE {string} {index} {index}"),
    row(1, "SUBSTR {string} {index} {index}"),
    row(3, "SETRANGE {string} {offset} {text}"),
    row(2, "GETSET {string} {text}"),
    row(2, "GETDEL {string}"),
    row(
        4,
        "GETEX {string} [(EX {seconds}|PX {milliseconds}|EXAT {unix-seconds}|PXAT {unix-milliseconds}|PERSIST)]",
    ),
    row(4, "INCR {integer}"),
    row(3, "DECR {integer}"),
    row(4, "INCRBY {integer} {number}"),
    row(3, "DECRBY {integer} {number}"),
    row(5, "INCRBYFLOAT {floating} {float}"),
    row(3, "MGET ({key})+"),
    row(3, "MSET ({string} {text})+"),
    row(2, "MSETNX ({string} {text})+"),
    row(2, "LCS {string} {string} [(LEN|IDX <[MINMATCHLEN {small}] [WITHMATCHLEN]>)]"),
    row(1, "SETBIT {string} {small} (0|1)"),
    row(1, "GETBIT {string} {small}"),
    row(1, "BITCOUNT {string} [{index} {index} [(BYTE|BIT)]]"),
    row(1, "BITPOS {string} (0|1) [{index} [{index} [(BYTE|BIT)]]]"),
    row(1, "BITOP (AND|OR|XOR) {string} ({string})+"),
    row(1, "BITOP NOT {string} {string}"),
];
