//! The semantics of a Redis-compatible event broker, as a pure state machine.
//!
//! [`Engine`] holds keys, streams, consumer groups, subscriptions, blocked clients and transactions. It knows
//! no socket, file, clock or random source: the time comes in with every call, replies and effects go out into
//! [`Outputs`], buffers that the caller owns and reuses. The same calls give the same bytes, always.
//!
//! ```
//! use cauce_engine::{Engine, Outcome, Outputs, SessionId, SessionInfo, Settings, Timestamp};
//!
//! let mut engine = Engine::new(Settings::default());
//! let (session, now) = (SessionId::new(1), Timestamp::from_millis(1_700_000_000_000));
//! engine.open_session(now, session, SessionInfo::default());
//! let mut out = Outputs::default();
//! let outcome = engine.apply(now, session, &[b"ECHO", b"hello"], &mut out);
//! assert_eq!((outcome, &out.replies[..]), (Outcome::Replied, &b"$5\r\nhello\r\n"[..]));
//! ```

mod blocking;
mod call;
mod collections;
mod command;
mod commands;
mod config;
mod encoding;
mod engine;
mod errors;
mod faults;
mod glob;
mod keyspace;
mod notify;
mod outputs;
mod pubsub;
mod random;
mod records;
mod script;
mod session;
pub mod stream;
mod time;
mod users;

pub use config::{Facts, Settings};
pub use engine::{AbsentBlock, BlockStore, Engine, Gauges, LogGauges, Snapshot};
#[cfg(feature = "seeded-faults")]
pub use faults::Fault;
pub use outputs::{Delivery, DeliveryKind, Outcome, Outputs, Position, ReplyGate};
pub use records::{Description, Detail, RecordBuf, ReplayError, describe};
pub use script::{RunningScript, ScriptFate, ScriptWatch};
pub use session::{SessionId, SessionInfo};
pub use time::Timestamp;
pub use users::Users;
