//! Services of an existing system on our broker, and mixed with services of ours in one group.

mod existing;
mod mixed;
mod ours;
mod workers;
