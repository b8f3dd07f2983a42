//! A small raw RESP client: what the server sent, exactly as it sent it.
//!
//! The toolkit and its client crate smooth over what differs between protocols and servers; tests of the wire must not. So a
//! [`Value`] keeps RESP2's two nulls and RESP3's one apart, pushes apart from arrays, and never turns one kind into another.
//! Everything blocks, and everything that waits has a deadline.

mod connection;
mod decode;
mod value;

pub use connection::{Address, Connection, WireError, encode};
pub use decode::{MalformedFrame, decode};
pub use value::Value;
