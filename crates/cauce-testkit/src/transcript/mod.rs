//! Wire conversations as text files: what is sent, what comes back, on which servers.
//!
//! ```text
//! == A group made at 0 gets the whole stream          a case: a sentence; it begins with no keys and new connections
//! needs scripts                                       it runs only where the server has the feature (`!scripts`: has it not)
//! only protocol 3                                     it runs only in RESP3; every case runs in RESP2 and in RESP3 otherwise
//! > XADD s 1-1 f "two words"                          a command on the connection `a`
//! < "1-1"                                             the next frame on it
//! b> XREAD BLOCK 0 STREAMS s $                        a command on the connection `b`, made when it is first named
//! b= blocked                                          it is waiting in a blocking command (awaited)
//! b= closed                                           the server closes it
//! >> "PING\r\n"                                       bytes as they are
//! <{semantics_7_2} :1                                 only where the server has the feature;
//! <{!semantics_7_2} :2                                only where it has not; `{2}` and `{3}`: only in that protocol
//! ```
//!
//! A line that begins with two spaces continues the line above; `#` begins a comment line. In a command, `$name` stands for what
//! was matched under that name. At the end of a case every connection must have been read to its end.
//!
//! | pattern | matches |
//! |---|---|
//! | `+OK` `:1` `"bulk"` `$-1` `*-1` `_` `#t` `,1.5` | exactly that frame |
//! | `-ERR text`, `-ERR text<any>` | an error; one that begins so |
//! | `-"ERR text"`, `+"text"` | an error or a simple string inside others, when it has commas or brackets |
//! | `[a, b]` `~[a]` `>[a]` `{k: v}` | array, set, push, map of exactly these elements |
//! | `[a, ...]` | an array that begins so |
//! | `nil` | the null string: `$-1` in RESP2, `_` in RESP3 |
//! | `nil[]` | the null array: `*-1` in RESP2, `_` in RESP3 |
//! | `%{k: v}` | pairs: a flat array in RESP2, a map in RESP3 |
//! | `streams{k: v}` | an array of `[k, v]` in RESP2, a map in RESP3: the shape of XREAD |
//! | `=1.5` | a double: a bulk string in RESP2 |
//! | `scores{k: v}` | a flat array in RESP2, an array of `[k, v]` in RESP3: the shape of ZRANGE WITHSCORES |
//! | `push[a, b]` | out-of-band data: an array in RESP2, a push in RESP3 |
//! | `unordered[a, b]` | an array of these elements in any order (RESP3: or a set) |
//! | `<any>` `<int>` `<id>` `<bulk>` | anything; an integer; a bulk string that is an entry id; any bulk string |
//! | `<int:name>` and the like | the same, and keeps what it matched under that name |

mod parse;
mod pattern;
mod run;

pub use parse::{Case, Line, MalformedTranscript, parse};
pub use pattern::{Captures, Pattern, Protocol};
pub use run::{CaseFailure, Runner};
