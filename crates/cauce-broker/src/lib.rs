//! The broker around the engine: listeners, sessions, limits, held replies.
