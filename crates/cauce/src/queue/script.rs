//! The scripts: one for each step of RSMQ that touches more than one key, so that nobody sees half of it.
//!
//! All keys are passed in, none is made inside, and both keys of a queue stand side by side: on a cluster a namespace with a hash
//! tag (`{jobs}`) is enough. Times are the server's.

pub(super) use crate::script::{Invocation, Script};

macro_rules! scripts {
    ($($name:ident = $file:literal;)*) => {
        $(pub(super) static $name: Script =
            Script::new(concat!(include_str!("scripts/prelude.lua"), include_str!($file)));)*
    };
}

scripts! {
    CREATE = "scripts/create.lua";
    REMOVE = "scripts/remove.lua";
    ATTRIBUTES = "scripts/attributes.lua";
    SEND = "scripts/send.lua";
    RECEIVE = "scripts/receive.lua";
    DELETE = "scripts/delete.lua";
    VISIBILITY = "scripts/visibility.lua";
    MOVE = "scripts/move.lua";
    FORWARD = "scripts/forward.lua";
}
