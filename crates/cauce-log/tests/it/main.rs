//! The log through its public interface.
//!
//! - `support`: opening, filling, waiting
//! - `damage`: every flipped bit is seen, and told from a torn tail
//! - `inspect`: looking without touching, and repair
//! - `disk`: real files, locks, and the reader that was written from the format's page
//! - `outages`: full disks, failed and slow syncs
//! - `segments`: units of any size, segments used again

mod damage;
mod disk;
mod inspect;
mod outages;
mod segments;
mod support;
