//! The scripts: one for each step of RSMQ that touches more than one key, so that nobody sees half of it.
//!
//! All keys are passed in, none is made inside, and both keys of a queue stand side by side: on a cluster a namespace with a hash
//! tag (`{jobs}`) is enough. Times are the server's.

pub(super) use crate::script::{Invocation, Script};

macro_rules! scripts {
    (@command) => { None };
    (@command $command:literal) => { Some($command) };
    ($($name:ident = $($piece:literal)* $(or $command:literal)?;)*) => {
        $(pub(super) static $name: Script = Script::or_command(
            concat!(include_str!("scripts/prelude.lua"), $(include_str!(concat!("scripts/", $piece, ".lua"))),*),
            scripts!(@command $($command)?),
        );)*
    };
}

// Each with the functions that it needs and no others: a function costs as often as the script runs. What every message takes is a command
// of its own in `cauce serve`, with the same arguments and replies.
scripts! {
    CREATE = "create";
    REMOVE = "remove";
    ATTRIBUTES = "problem" "attributes";
    SEND = "ids" "fits" "problem" "send" or "RSMQ.SEND";
    RECEIVE = "problem" "receive" or "RSMQ.RECEIVE";
    DELETE = "delete" or "RSMQ.DELETE";
    VISIBILITY = "problem" "visibility";
    MOVE = "problem" "move";
    FORWARD = "ids" "fits" "problem" "forward";
}
