//! Hashes, sets and sorted sets.

use super::{Family, Row};

const fn hash(weight: u32, syntax: &'static str) -> Row {
    super::row(Family::Hashes, weight, syntax)
}

const fn set(weight: u32, syntax: &'static str) -> Row {
    super::row(Family::Sets, weight, syntax)
}

const fn sorted(weight: u32, syntax: &'static str) -> Row {
    super::row(Family::SortedSets, weight, syntax)
}

const fn wait(weight: u32, syntax: &'static str) -> Row {
    super::row(Family::Waiting, weight, syntax)
}

pub(super) const ROWS: &[Row] = &[
    hash(10, "HSET {hash} ({hash-pair})+"),
    hash(1, "HSET {hash} {many-pairs}"),
    hash(2, "HMSET {hash} ({hash-pair})+"),
    hash(3, "HSETNX {hash} {hash-pair}"),
    hash(4, "HGET {hash} {hash-field}"),
    hash(3, "HMGET {hash} ({hash-field})+"),
    hash(4, "HGETALL {hash}"),
    hash(2, "HKEYS {hash}"),
    hash(2, "HVALS {hash}"),
    hash(2, "HLEN {hash}"),
    hash(2, "HSTRLEN {hash} {hash-field}"),
    hash(2, "HEXISTS {hash} {hash-field}"),
    hash(4, "HDEL {hash} ({hash-field})+"),
    hash(4, "HINCRBY {hash} {number-field} {number}"),
    hash(4, "HINCRBYFLOAT {hash} {number-field} {float}"),
    hash(2, "HRANDFIELD {hash} [{random-count} [WITHVALUES]]"),
    hash(3, "HSCAN {hash} 0 <[MATCH {member-pattern}] (COUNT 100000)>"),
    set(10, "SADD {set} ({member})+"),
    set(4, "SADD {set} ({small-int})+"),
    set(1, "SADD {set} {many-members}"),
    set(1, "SADD {set} {many-ints}"),
    set(5, "SREM {set} ({member})+"),
    set(4, "SMEMBERS {set}"),
    set(2, "SCARD {set}"),
    set(3, "SISMEMBER {set} {member}"),
    set(3, "SMISMEMBER {set} ({member})+"),
    set(4, "SMOVE {set} {set} {member}"),
    set(1, "SPOP {set} {pop-count}"),
    set(2, "SRANDMEMBER {set} [{random-count}]"),
    set(3, "SSCAN {set} 0 <[MATCH {member-pattern}] (COUNT 100000)>"),
    set(4, "SUNION ({set})+"),
    set(4, "SINTER ({set})+"),
    set(4, "SDIFF ({set})+"),
    set(3, "SINTERCARD {sets-counted} [LIMIT {small}]"),
    set(2, "SUNIONSTORE {set} ({set})+"),
    set(2, "SINTERSTORE {set} ({set})+"),
    set(2, "SDIFFSTORE {set} ({set})+"),
    sorted(14, "ZADD {zset} <[(NX|XX|GT|LT|XX GT|XX LT)] [CH]> ({score} {member})+"),
    sorted(4, "ZADD {zset} <[(NX|XX|GT|LT|XX GT|XX LT)] [CH] INCR> {score} {member}"),
    sorted(1, "ZADD {zset} {many-scored}"),
    sorted(4, "ZINCRBY {zset} {score} {member}"),
    sorted(5, "ZREM {zset} ({member})+"),
    sorted(2, "ZCARD {zset}"),
    sorted(3, "ZSCORE {zset} {member}"),
    sorted(3, "ZMSCORE {zset} ({member})+"),
    sorted(3, "ZRANK {zset} {member}"),
    sorted(3, "ZREVRANK {zset} {member}"),
    sorted(3, "ZCOUNT {zset} {score-min} {score-max}"),
    sorted(5, "ZRANGE {zset} {index} {index} <[REV] [WITHSCORES]>"),
    sorted(5, "ZRANGE {zset} {score-min} {score-max} <BYSCORE [LIMIT {offset} {limit-count}] [WITHSCORES]>"),
    sorted(
        3,
        "ZRANGE {zset} {score-max} {score-min} <BYSCORE REV [LIMIT {offset} {limit-count}] [WITHSCORES]>",
    ),
    sorted(2, "ZREVRANGE {zset} {index} {index} [WITHSCORES]"),
    sorted(4, "ZRANGEBYSCORE {zset} {score-min} {score-max} <[WITHSCORES] [LIMIT {offset} {limit-count}]>"),
    sorted(
        4,
        "ZREVRANGEBYSCORE {zset} {score-max} {score-min} <[WITHSCORES] [LIMIT {offset} {limit-count}]>",
    ),
    sorted(2, "ZRANGESTORE {zset} {zset} {index} {index} [REV]"),
    sorted(2, "ZRANGESTORE {zset} {zset} {score-min} {score-max} <BYSCORE [LIMIT {offset} {limit-count}]>"),
    sorted(1, "ZRANGESTORE {zset} {lex} {lex-min} {lex-max} <BYLEX [LIMIT {offset} {limit-count}]>"),
    sorted(2, "ZREMRANGEBYSCORE {zset} {score-min} {score-max}"),
    sorted(2, "ZREMRANGEBYRANK {zset} {rank-from} {rank-to}"),
    sorted(3, "ZPOPMIN {zset} [{small}]"),
    sorted(3, "ZPOPMAX {zset} [{small}]"),
    sorted(2, "ZRANDMEMBER {zset} [{random-count} [WITHSCORES]]"),
    sorted(3, "ZSCAN {zset} 0 <[MATCH {member-pattern}] (COUNT 100000)>"),
    sorted(4, "ZUNION {zsets-counted} <[WEIGHTS {weights}] [AGGREGATE (SUM|MIN|MAX)] [WITHSCORES]>"),
    sorted(4, "ZINTER {zsets-counted} <[WEIGHTS {weights}] [AGGREGATE (SUM|MIN|MAX)] [WITHSCORES]>"),
    sorted(3, "ZDIFF {zsets-counted} [WITHSCORES]"),
    sorted(3, "ZINTERCARD {zsets-counted} [LIMIT {small}]"),
    sorted(3, "ZUNIONSTORE {zset} {zsets-counted} <[WEIGHTS {weights}] [AGGREGATE (SUM|MIN|MAX)]>"),
    sorted(3, "ZINTERSTORE {zset} {zsets-counted} <[WEIGHTS {weights}] [AGGREGATE (SUM|MIN|MAX)]>"),
    sorted(2, "ZDIFFSTORE {zset} {zsets-counted}"),
    sorted(3, "ZMPOP {zsets-alone} (MIN|MAX) [COUNT {positive}]"),
    // Members of one score, in the order of their bytes.
    sorted(4, "ZADD {lex} ({lex-member})+"),
    sorted(3, "ZLEXCOUNT {lex} {lex-min} {lex-max}"),
    sorted(3, "ZRANGEBYLEX {lex} {lex-min} {lex-max} [LIMIT {offset} {limit-count}]"),
    sorted(3, "ZREVRANGEBYLEX {lex} {lex-max} {lex-min} [LIMIT {offset} {limit-count}]"),
    sorted(3, "ZRANGE {lex} {lex-min} {lex-max} <BYLEX [LIMIT {offset} {limit-count}]>"),
    sorted(2, "ZRANGE {lex} {lex-max} {lex-min} <BYLEX REV [LIMIT {offset} {limit-count}]>"),
    sorted(1, "ZREMRANGEBYLEX {lex} {lex-min} {lex-max}"),
    wait(8, "BZPOPMIN ({zset})+ {timeout-seconds}"),
    wait(8, "BZPOPMAX ({zset})+ {timeout-seconds}"),
    wait(8, "BZMPOP {timeout-seconds} {zsets-alone} (MIN|MAX) [COUNT {positive}]"),
];
