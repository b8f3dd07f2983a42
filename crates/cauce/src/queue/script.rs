//! The scripts: one for each step of RSMQ that touches more than one key, so that nobody sees half of it.
//!
//! All keys are passed in, none is made inside, and both keys of a queue stand side by side: on a cluster a namespace with a hash
//! tag (`{jobs}`) is enough. Times are the server's.

pub(super) use crate::script::{Invocation, Script};

macro_rules! scripts {
    ($($name:ident = $($piece:literal)*;)*) => {
        $(pub(super) static $name: Script =
            Script::new(concat!(include_str!("scripts/prelude.lua"), $(include_str!(concat!("scripts/", $piece, ".lua"))),*));)*
    };
}

// Each with the functions that it needs and no others: a function costs as often as the script runs.
scripts! {
    CREATE = "create";
    REMOVE = "remove";
    ATTRIBUTES = "problem" "attributes";
    SEND = "ids" "fits" "problem" "send";
    RECEIVE = "problem" "receive";
    DELETE = "delete";
    VISIBILITY = "problem" "visibility";
    MOVE = "problem" "move";
    FORWARD = "ids" "fits" "problem" "forward";
}
