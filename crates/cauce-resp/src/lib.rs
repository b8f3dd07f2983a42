//! RESP2 and RESP3 on the wire: requests are decoded, replies are encoded, both within limits.
//!
//! This crate knows bytes and shapes, and no command. It neither reads nor writes a socket: the caller owns
//! the buffers. Nothing is ever allocated by a length that was read from the wire; memory grows only with the
//! bytes that really arrived.

mod decode;
mod encode;
mod number;

pub use decode::{Decoder, Limits, ProtocolError, Span};
pub use encode::{Encoder, Protocol};
pub use number::{format_double, parse_i64};
