//! The Streams commands of Redis 7.2, one file for each or for a few that belong together.

mod options;
mod reply;
mod xack;
mod xadd;
mod xdel;
mod xgroup;
mod xrange;
mod xread;
mod xreadgroup;
mod xtrim;

use crate::command::CommandSpec;

/// The rows of the Streams commands.
pub(crate) const COMMANDS: &[CommandSpec] = &[
    xack::XACK,
    xadd::XADD,
    xdel::XDEL,
    xgroup::XGROUP,
    xrange::XLEN,
    xrange::XRANGE,
    xrange::XREVRANGE,
    xread::XREAD,
    xreadgroup::XREADGROUP,
    xtrim::XTRIM,
];
