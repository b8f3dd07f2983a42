//! Sorted sets, a file for each few commands that belong together.

mod add;
mod algebra;
mod pop;
mod range;
mod read;

pub(super) use self::add::{put_members, remove_members};
use self::algebra::Operation::{Difference, Intersection, Union};
use crate::command::{CommandSpec, Flags, Handler, Keys};

const fn row(
    name: &'static str,
    arity: i32,
    flags: Flags,
    since: &'static str,
    summary: &'static str,
    complexity: &'static str,
    run: Handler,
) -> CommandSpec {
    CommandSpec {
        keys: Keys::FIRST,
        group: "sorted-set",
        complexity,
        ..CommandSpec::new(name, arity, flags, since, summary, run)
    }
}

const READ: Flags = Flags::READONLY;
const FAST_READ: Flags = Flags::READONLY.and(Flags::FAST);
const FAST_WRITE: Flags = Flags::WRITE.and(Flags::FAST);
const GROW: Flags = Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST);

const LOG: &str = "O(log(N)) where N is the number of elements in the sorted set.";
const LOG_EACH: &str = "O(log(N)) for each element, where N is the number of elements in the sorted set.";
const COMBINED: &str = "O(N)+O(M*log(M)) with N being the total number of elements in all given sets and M the number of elements in the result.";
const LOG_AND_FOUND: &str = "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements returned or removed.";

#[rustfmt::skip]
pub(crate) const COMMANDS: &[CommandSpec] = &[
    CommandSpec { keys: Keys::Counted { at: 2 }, ..row("bzmpop", -5, Flags::WRITE.and(Flags::BLOCKING).and(Flags::MOVABLE_KEYS), "7.0.0", "Removes and returns a member by score from one or more sorted sets. Blocks until a member is available otherwise. Deletes the sorted set if the last element was popped.", LOG_EACH, pop::bzmpop) },
    CommandSpec { keys: pop::BLOCKING_KEYS, ..row("bzpopmax", -3, pop::BLOCKING, "5.0.0", "Removes and returns the member with the highest score from one or more sorted sets. Blocks until a member is available otherwise. Deletes the sorted set if the last element was popped.", LOG, |call, args| pop::blocking(call, args, true)) },
    CommandSpec { keys: pop::BLOCKING_KEYS, ..row("bzpopmin", -3, pop::BLOCKING, "5.0.0", "Removes and returns the member with the lowest score from one or more sorted sets. Blocks until a member is available otherwise. Deletes the sorted set if the last element was popped.", LOG, |call, args| pop::blocking(call, args, false)) },
    row("zadd", -4, GROW, "1.2.0", "Adds one or more members to a sorted set, or updates their scores. Creates the key if it doesn't exist.", LOG_EACH, add::zadd),
    row("zcard", 2, FAST_READ, "1.2.0", "Returns the number of members in a sorted set.", "O(1)", read::zcard),
    row("zcount", 4, FAST_READ, "2.0.0", "Returns the count of members in a sorted set that have scores within a range.", LOG, range::zcount),
    CommandSpec { keys: algebra::KEYS, ..row("zdiff", -3, algebra::READ, "6.2.0", "Returns the difference between multiple sorted sets.", COMBINED, |call, args| algebra::combined(call, args, Difference)) },
    CommandSpec { keys: algebra::STORE_KEYS, ..row("zdiffstore", -4, algebra::STORE, "6.2.0", "Stores the difference of multiple sorted sets in a key.", COMBINED, |call, args| algebra::stored(call, args, Difference)) },
    row("zincrby", 4, GROW, "1.2.0", "Increments the score of a member in a sorted set.", LOG, add::zincrby),
    CommandSpec { keys: algebra::KEYS, ..row("zinter", -3, algebra::READ, "6.2.0", "Returns the intersect of multiple sorted sets.", COMBINED, |call, args| algebra::combined(call, args, Intersection)) },
    CommandSpec { keys: algebra::KEYS, ..row("zintercard", -3, algebra::READ, "7.0.0", "Returns the number of members of the intersect of multiple sorted sets.", "O(N*K) worst case with N being the smallest input sorted set, K being the number of input sorted sets.", algebra::zintercard) },
    CommandSpec { keys: algebra::STORE_KEYS, ..row("zinterstore", -4, algebra::STORE, "2.0.0", "Stores the intersect of multiple sorted sets in a key.", COMBINED, |call, args| algebra::stored(call, args, Intersection)) },
    row("zlexcount", 4, FAST_READ, "2.8.9", "Returns the number of members in a sorted set within a lexicographical range.", LOG, range::zlexcount),
    CommandSpec { keys: algebra::KEYS, ..row("zmpop", -4, Flags::WRITE.and(Flags::MOVABLE_KEYS), "7.0.0", "Returns the highest- or lowest-scoring members from one or more sorted sets after removing them. Deletes the sorted set if the last member was popped.", LOG_EACH, pop::zmpop) },
    row("zmscore", -3, FAST_READ, "6.2.0", "Returns the score of one or more members in a sorted set.", "O(N) where N is the number of members being requested.", read::zmscore),
    row("zpopmax", -2, FAST_WRITE, "5.0.0", "Returns the highest-scoring members from a sorted set after removing them. Deletes the sorted set if the last member was popped.", LOG_EACH, |call, args| pop::pop(call, args, true)),
    row("zpopmin", -2, FAST_WRITE, "5.0.0", "Returns the lowest-scoring members from a sorted set after removing them. Deletes the sorted set if the last member was popped.", LOG_EACH, |call, args| pop::pop(call, args, false)),
    row("zrandmember", -2, READ, "6.2.0", "Returns one or more random members from a sorted set.", "O(N) where N is the number of members returned.", read::zrandmember),
    row("zrange", -4, READ, "1.2.0", "Returns members in a sorted set within a range of indexes.", LOG_AND_FOUND, range::zrange),
    row("zrangebylex", -4, READ, "2.8.9", "Returns members in a sorted set within a lexicographical range.", LOG_AND_FOUND, range::zrangebylex),
    row("zrangebyscore", -4, READ, "1.0.5", "Returns members in a sorted set within a range of scores.", LOG_AND_FOUND, range::zrangebyscore),
    CommandSpec { keys: Keys::Range { first: 1, last: 2, step: 1 }, ..row("zrangestore", -5, Flags::WRITE.and(Flags::DENYOOM), "6.2.0", "Stores a range of members from sorted set in a key.", LOG_AND_FOUND, range::zrangestore) },
    row("zrank", -3, FAST_READ, "2.0.0", "Returns the index of a member in a sorted set ordered by ascending scores.", LOG, |call, args| read::rank(call, args, false)),
    row("zrem", -3, FAST_WRITE, "1.2.0", "Removes one or more members from a sorted set. Deletes the sorted set if all members were removed.", LOG_EACH, add::zrem),
    row("zremrangebylex", 4, Flags::WRITE, "2.8.9", "Removes members in a sorted set within a lexicographical range. Deletes the sorted set if all members were removed.", LOG_AND_FOUND, range::zremrangebylex),
    row("zremrangebyrank", 4, Flags::WRITE, "2.0.0", "Removes members in a sorted set within a range of indexes. Deletes the sorted set if all members were removed.", LOG_AND_FOUND, range::zremrangebyrank),
    row("zremrangebyscore", 4, Flags::WRITE, "1.2.0", "Removes members in a sorted set within a range of scores. Deletes the sorted set if all members were removed.", LOG_AND_FOUND, range::zremrangebyscore),
    row("zrevrange", -4, READ, "1.2.0", "Returns members in a sorted set within a range of indexes in reverse order.", LOG_AND_FOUND, range::zrevrange),
    row("zrevrangebylex", -4, READ, "2.8.9", "Returns members in a sorted set within a lexicographical range in reverse order.", LOG_AND_FOUND, range::zrevrangebylex),
    row("zrevrangebyscore", -4, READ, "2.2.0", "Returns members in a sorted set within a range of scores in reverse order.", LOG_AND_FOUND, range::zrevrangebyscore),
    row("zrevrank", -3, FAST_READ, "2.0.0", "Returns the index of a member in a sorted set ordered by descending scores.", LOG, |call, args| read::rank(call, args, true)),
    row("zscan", -3, READ, "2.8.0", "Iterates over members and scores of a sorted set.", "O(1) for every call. O(N) for a complete iteration.", read::zscan),
    row("zscore", 3, FAST_READ, "1.2.0", "Returns the score of a member in a sorted set.", "O(1)", read::zscore),
    CommandSpec { keys: algebra::KEYS, ..row("zunion", -3, algebra::READ, "6.2.0", "Returns the union of multiple sorted sets.", COMBINED, |call, args| algebra::combined(call, args, Union)) },
    CommandSpec { keys: algebra::STORE_KEYS, ..row("zunionstore", -4, algebra::STORE, "2.0.0", "Stores the union of multiple sorted sets in a key.", COMBINED, |call, args| algebra::stored(call, args, Union)) },
];
