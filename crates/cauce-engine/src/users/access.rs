//! What a command does to each of its keys, as far as `%R~` and `%W~` patterns tell it apart.

use crate::command::{CommandSpec, Flags};

/// What has to be permitted on a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Access {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

const NONE: Access = Access { read: false, write: false };
const READ: Access = Access { read: true, write: false };
const WRITE: Access = Access { read: false, write: true };
const BOTH: Access = Access { read: true, write: true };

/// What `command` does to the key at `index` among its keys. Knowing that a key exists, its type or its length is
/// neither reading nor writing, as in Redis.
pub(crate) fn of_key(spec: &CommandSpec, args: &[&[u8]], index: usize) -> Access {
    let first = index == 0;
    match spec.name {
        "xlen" | "scard" | "memory|usage" | "llen" | "hlen" | "zcard" | "touch" | "type" | "object|freq"
        | "object|encoding" | "object|idletime" | "object|refcount" | "sismember" | "hstrlen" | "strlen"
        | "hexists" | "exists" | "watch" => NONE,
        "zpopmin" | "zpopmax" | "bzpopmin" | "bzpopmax" | "zmpop" | "bzmpop" | "lmpop" | "blmpop"
        | "lpop" | "rpop" | "blpop" | "brpop" | "spop" | "setbit" | "zincrby" | "getex" | "getset"
        | "getdel" | "incrbyfloat" | "hincrbyfloat" | "hincrby" | "incrby" | "incr" | "decrby" | "decr"
        | "move" | "eval" | "evalsha" | "fcall" => BOTH,
        "set" => {
            if args.iter().skip(3).any(|arg| arg.eq_ignore_ascii_case(b"get")) {
                BOTH
            } else {
                WRITE
            }
        }
        "bitfield" => bitfield(args),
        "xreadgroup" => READ,
        "sort" | "copy" | "georadius" | "georadiusbymember" => {
            if first {
                READ
            } else {
                WRITE
            }
        }
        "pfmerge" => {
            if first {
                BOTH
            } else {
                READ
            }
        }
        "rename" | "renamenx" | "lmove" | "blmove" | "rpoplpush" | "brpoplpush" | "smove" => {
            if first {
                BOTH
            } else {
                WRITE
            }
        }
        "zrangestore" | "zinterstore" | "zunionstore" | "zdiffstore" | "sunionstore" | "sinterstore"
        | "sdiffstore" | "bitop" | "geosearchstore" => {
            if first {
                WRITE
            } else {
                READ
            }
        }
        _ if spec.flags.has(Flags::READONLY) => READ,
        _ if spec.flags.has(Flags::WRITE) => WRITE,
        _ => NONE,
    }
}

/// With nothing but GET it reads.
fn bitfield(args: &[&[u8]]) -> Access {
    let writes = |arg: &&[u8]| arg.eq_ignore_ascii_case(b"set") || arg.eq_ignore_ascii_case(b"incrby");
    if args.iter().skip(2).any(writes) { BOTH } else { READ }
}
