//! The Streams commands of Redis 7.2, and those that came up to 8.10, one file for each or for a few that belong together.

mod idmp;
mod options;
mod reply;
mod xack;
mod xadd;
mod xautoclaim;
mod xclaim;
mod xdel;
mod xdelex;
mod xgroup;
mod xinfo;
mod xnack;
mod xpending;
mod xrange;
mod xread;
mod xreadgroup;
mod xsetid;
mod xtrim;

pub(super) use self::xread::block_timeout;
use crate::command::CommandSpec;

/// The rows of the Streams commands.
pub(crate) const COMMANDS: &[CommandSpec] = &[
    idmp::XCFGSET,
    idmp::XIDMPRECORD,
    xack::XACK,
    xadd::XADD,
    xautoclaim::XAUTOCLAIM,
    xclaim::XCLAIM,
    xdel::XDEL,
    xdelex::XACKDEL,
    xdelex::XDELEX,
    xgroup::XGROUP,
    xinfo::XINFO,
    xnack::XNACK,
    xpending::XPENDING,
    xrange::XLEN,
    xrange::XRANGE,
    xrange::XREVRANGE,
    xread::XREAD,
    xreadgroup::XREADGROUP,
    xsetid::XSETID,
    xtrim::XTRIM,
];
