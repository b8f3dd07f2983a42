//! What is measured: one row per scenario.

use std::time::Duration;

use super::load::Sample;
use super::{drain, fan_out, latency, request_reply};
use crate::client::Server;

/// How one round of a scenario ended.
#[derive(Debug, Clone)]
pub(super) enum Measured {
    /// Operations per second: more is better.
    Rate(Sample),
    /// Delays at a fixed rate: less is better.
    Delay(latency::Delays),
}

impl Measured {
    /// The one number that rounds are compared by.
    pub(super) fn figure(&self) -> f64 {
        match self {
            Self::Rate(sample) => sample.operations as f64 / sample.elapsed.as_secs_f64(),
            Self::Delay(delays) => delays.p99_us as f64,
        }
    }

    /// The sample, if this is a rate.
    pub(super) fn sample(&self) -> Option<&Sample> {
        match self {
            Self::Rate(sample) => Some(sample),
            Self::Delay(_) => None,
        }
    }

    /// The delays, if these were measured.
    pub(super) fn delays(&self) -> Option<&latency::Delays> {
        match self {
            Self::Rate(_) => None,
            Self::Delay(delays) => Some(delays),
        }
    }
}

/// What every scenario is given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    /// Measured time of one round.
    pub(super) measured: Duration,
    /// The server's process, where it runs on this machine.
    pub(super) pid: Option<u32>,
}

/// One scenario: what it is called, what it does, and how.
#[derive(Debug)]
pub(super) struct Scenario {
    /// Its name on the command line.
    pub(super) name: &'static str,
    /// One line about it, for whoever reads the JSON.
    pub(super) about: &'static str,
    /// Runs one round against a server and leaves none of its keys there.
    pub(super) run: fn(&Server, Setting) -> anyhow::Result<Measured>,
}

/// Every scenario, in the order in which they run.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "xadd-pipelined",
        about: "XADD, 4 connections, 64 requests deep",
        run: |server, setting| request_reply::run(server, setting, &request_reply::XADD_PIPELINED),
    },
    Scenario {
        name: "xadd",
        about: "XADD, 50 connections, one request at a time",
        run: |server, setting| request_reply::run(server, setting, &request_reply::XADD),
    },
    Scenario {
        name: "group-drain",
        about: "XREADGROUP COUNT 100 + XACK by 2 consumers of a filled stream; entries",
        run: drain::run,
    },
    Scenario {
        name: "fan-out",
        about: "PUBLISH pipelined to 10 subscribers; deliveries counted at the subscribers",
        run: fan_out::run,
    },
    Scenario {
        name: "get",
        about: "GET of 64 bytes, 4 connections, 64 deep",
        run: |server, setting| request_reply::run(server, setting, &request_reply::GET),
    },
    Scenario {
        name: "set",
        about: "SET of 64 bytes, 4 connections, 64 deep",
        run: |server, setting| request_reply::run(server, setting, &request_reply::SET),
    },
    Scenario {
        name: "incr",
        about: "INCR of one key, 4 connections, 64 deep",
        run: |server, setting| request_reply::run(server, setting, &request_reply::INCR),
    },
    Scenario {
        name: "mset",
        about: "MSET of 10 keys, 4 connections, 64 deep",
        run: |server, setting| request_reply::run(server, setting, &request_reply::MSET),
    },
    Scenario {
        name: "hset",
        about: "HSET of 64 bytes into one of 10,000 fields, 4 connections, 64 deep",
        run: |server, setting| request_reply::run(server, setting, &request_reply::HSET),
    },
    Scenario {
        name: "sadd",
        about: "SADD of one of 10,000 members, 4 connections, 64 deep",
        run: |server, setting| request_reply::run(server, setting, &request_reply::SADD),
    },
    Scenario {
        name: "zadd",
        about: "ZADD of one of 10,000 members at another score, 4 connections, 64 deep",
        run: |server, setting| request_reply::run(server, setting, &request_reply::ZADD),
    },
    Scenario {
        name: "receive-pipelined",
        about: "EVALSHA of RSMQ's receive (a script of six commands), 4 connections, 64 deep",
        run: |server, setting| request_reply::run(server, setting, &request_reply::RECEIVE_PIPELINED),
    },
    Scenario {
        name: "receive",
        about: "EVALSHA of RSMQ's receive (a script of six commands), 50 connections, one request at a time",
        run: |server, setting| request_reply::run(server, setting, &request_reply::RECEIVE),
    },
    Scenario {
        name: "ping",
        about: "PING, 50 connections, one request at a time",
        run: |server, setting| request_reply::run(server, setting, &request_reply::PING),
    },
    Scenario {
        name: "latency",
        about: "from producer to group consumer at 50,000 entries/s; delays in microseconds, compared by p99",
        run: latency::run,
    },
];

/// The field names of the entry that stands for what services write: an action and three keys.
pub(super) const SEED_FIELDS: [&[u8]; 4] = [b"action", b"key_1", b"key_2", b"key_3"];
/// Its values that are the same in every entry: of the action, the second and the third key.
pub(super) const VALUES_REPEAT: [&[u8]; 3] = [b"action_type", b"value_2", b"value_3"];
/// The whole entry, as the scenarios write it.
pub(super) const SEED_ENTRY: [&[u8]; 8] =
    [b"action", b"action_type", b"key_1", b"value_12345", b"key_2", b"value_2", b"key_3", b"value_3"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SCENARIOS.len());
    }

    #[test]
    fn the_help_names_them_all() {
        let mut command = <super::super::BenchArgs as clap::Args>::augment_args(clap::Command::new("bench"));
        let help = command.render_long_help().to_string();
        let names: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        assert!(help.contains(&names.join(", ")), "{help}");
    }
}
