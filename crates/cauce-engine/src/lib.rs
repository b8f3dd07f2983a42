//! The semantics of a Redis-compatible event broker as a pure state machine: no sockets, files, clock or randomness.
