//! WAIT. There are no replicas: it answers that none has anything, as Redis does, after its time is over.

use super::stream::block_timeout;
use super::{arg, integer};
use crate::blocking::{BlockRequest, WakeOn};
use crate::call::{Call, Flow};
use crate::command::{CommandSpec, Flags, Keys};
use crate::errors::Error;
use crate::time::Timestamp;

pub(crate) const COMMANDS: &[CommandSpec] = &[CommandSpec {
    name: "wait",
    arity: 3,
    flags: Flags::NOSCRIPT.and(Flags::CONNECTION),
    keys: Keys::None,
    group: "generic",
    since: "3.0.0",
    summary: "Blocks until the asynchronous replication of all preceding write commands sent by the connection is completed.",
    complexity: "O(1)",
    run: wait,
    subcommands: &[],
}];

fn wait(call: &mut Call<'_>, args: &[&[u8]]) -> Result<Flow, Error> {
    let replicas = integer(arg(args, 1))?;
    let timeout_ms = block_timeout(arg(args, 2), call.now)?;
    if replicas <= 0 || !call.may_block {
        call.reply.integer(0);
        return Ok(Flow::Done);
    }
    let deadline = call.now.millis().saturating_add(timeout_ms);
    Ok(Flow::Block(BlockRequest {
        args: args.iter().map(|&arg| arg.into()).collect(),
        keys: Vec::new(),
        deadline: (timeout_ms > 0).then(|| Timestamp::from_millis(deadline)),
        wakes_on: WakeOn::Nothing,
    }))
}
