//! The Streams commands of Redis 7.2, one file for each or for a few that belong together.

mod options;
mod reply;
mod xack;
mod xadd;
mod xautoclaim;
mod xclaim;
mod xdel;
mod xgroup;
mod xinfo;
mod xpending;
mod xrange;
mod xread;
mod xreadgroup;
mod xsetid;
mod xtrim;

use crate::command::CommandSpec;

/// The rows of the Streams commands.
pub(crate) const COMMANDS: &[CommandSpec] = &[
    xack::XACK,
    xadd::XADD,
    xautoclaim::XAUTOCLAIM,
    xclaim::XCLAIM,
    xdel::XDEL,
    xgroup::XGROUP,
    xinfo::XINFO,
    xpending::XPENDING,
    xrange::XLEN,
    xrange::XRANGE,
    xrange::XREVRANGE,
    xread::XREAD,
    xreadgroup::XREADGROUP,
    xsetid::XSETID,
    xtrim::XTRIM,
];
