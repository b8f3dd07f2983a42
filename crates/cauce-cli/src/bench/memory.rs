//! How much memory an item takes: growth of the server's resident memory while it is filled, divided by the
//! number of items. Each case gets servers of its own, freshly started, so that no case profits from what
//! another one freed.

use anyhow::{Context, ensure};
use serde::Serialize;

use super::peers::Peer;
use super::scenarios::{SEED_FIELDS, VALUES_REPEAT};
use crate::client::resp::encode;
use crate::client::{Control, Server};

const KEY: &[u8] = b"cauce:bench";
const GROUP: &[u8] = b"memory";
/// Requests under way while filling: few, so that buffers stay small beside what is measured.
const DEPTH: usize = 100;

/// One kind of item.
struct Case {
    name: &'static str,
    about: &'static str,
    /// What must be there before memory is read for the first time.
    prepare: fn(&mut Control, usize) -> anyhow::Result<()>,
    /// Adds the items.
    fill: fn(&mut Control, usize) -> anyhow::Result<()>,
}

const CASES: &[Case] = &[
    Case {
        name: "entry",
        about: "an entry of the seed programs' shape: one value of four differs from entry to entry",
        prepare: |_, _| Ok(()),
        fill: |control, items| fill(control, items, seed_entry),
    },
    Case {
        name: "entry-varied",
        about: "the same with every value different, without a pattern",
        prepare: |_, _| Ok(()),
        fill: |control, items| fill(control, items, varied_entry),
    },
    Case {
        name: "pending",
        about: "a pending entry of one consumer, beside its stream",
        prepare: |control, items| {
            fill(control, items, seed_entry)?;
            control.call(&[b"XGROUP", b"CREATE", KEY, GROUP, b"0"]).map(drop)
        },
        fill: read_all,
    },
    Case {
        name: "string",
        about: "a key of about 12 bytes that holds 16 bytes",
        prepare: |_, _| Ok(()),
        fill: |control, items| {
            fill(control, items, |out, item| {
                encode(out, &[b"SET", format!("key:{item}").as_bytes(), text(item, 16).as_bytes()]);
            })
        },
    },
    Case {
        name: "hash-field",
        about: "a field of about 12 bytes and 16 bytes of value in one large hash",
        prepare: |_, _| Ok(()),
        fill: |control, items| {
            fill(control, items, |out, item| {
                let field = format!("field:{item}");
                encode(out, &[b"HSET", KEY, field.as_bytes(), text(item, 16).as_bytes()]);
            })
        },
    },
    Case {
        name: "set-member",
        about: "a member of 16 bytes in one large set",
        prepare: |_, _| Ok(()),
        fill: |control, items| {
            fill(control, items, |out, item| encode(out, &[b"SADD", KEY, text(item, 16).as_bytes()]))
        },
    },
    Case {
        name: "zset-member",
        about: "a member of 16 bytes in one large sorted set",
        prepare: |_, _| Ok(()),
        fill: |control, items| {
            fill(control, items, |out, item| {
                let score = (item * 7919 % 1_000_003).to_string();
                encode(out, &[b"ZADD", KEY, score.as_bytes(), text(item, 16).as_bytes()]);
            })
        },
    },
];

/// What a case found, in bytes per item.
#[derive(Debug, Serialize)]
struct Row {
    case: &'static str,
    about: &'static str,
    items: usize,
    cauce_bytes: f64,
    redis_bytes: f64,
}

/// Measures the cases named (all, if none is) on this binary's broker and on redis-server.
pub(super) fn run(only: &[String], items: usize, json: bool) -> anyhow::Result<()> {
    let known = CASES.iter().map(|case| case.name).collect::<Vec<_>>().join(", ");
    for name in only {
        ensure!(CASES.iter().any(|case| case.name == name), "there is no case '{name}'; there are {known}");
    }
    if !json {
        println!("{:<16} {:>16} {:>16}", "bytes per item", "cauce serve", "redis-server");
    }
    for case in CASES.iter().filter(|case| only.is_empty() || only.iter().any(|name| name == case.name)) {
        let cauce_bytes = measure(case, items, Peer::cauce(false, false)?)?;
        let redis_bytes = measure(case, items, Peer::redis(false, None)?)?;
        let row = Row { case: case.name, about: case.about, items, cauce_bytes, redis_bytes };
        if json {
            println!("{}", serde_json::to_string(&row)?);
        } else {
            println!("{:<16} {cauce_bytes:>16.1} {redis_bytes:>16.1}", case.name);
        }
    }
    Ok(())
}

fn measure(case: &Case, items: usize, (_peer, server): (Peer, Server)) -> anyhow::Result<f64> {
    let pid = server.local_pid()?.context("a server that was started here has a process here")?;
    let mut control = server.control()?;
    (case.prepare)(&mut control, items)?;
    let before = resident_bytes(pid)?;
    (case.fill)(&mut control, items)?;
    let after = resident_bytes(pid)?;
    Ok((after as f64 - before as f64) / items as f64)
}

fn fill(control: &mut Control, items: usize, request: fn(&mut Vec<u8>, usize)) -> anyhow::Result<()> {
    let mut batch = Vec::new();
    for from in (0..items).step_by(DEPTH) {
        batch.clear();
        let until = items.min(from + DEPTH);
        for item in from..until {
            request(&mut batch, item);
        }
        control.send_batch(&batch, until - from)?;
    }
    Ok(())
}

fn seed_entry(out: &mut Vec<u8>, item: usize) {
    let value = format!("value_{item}");
    let [action, first, second, third] = SEED_FIELDS;
    let [action_type, second_value, third_value] = VALUES_REPEAT;
    let values = [action, action_type, first, value.as_bytes(), second, second_value, third, third_value];
    encode(out, &[&[b"XADD".as_slice(), KEY, b"*"], values.as_slice()].concat());
}

fn varied_entry(out: &mut Vec<u8>, item: usize) {
    let [action, first, second, third] = SEED_FIELDS;
    let values: Vec<String> = (0..4).map(|place| text(item * 4 + place, 8)).collect();
    let mut arguments: Vec<&[u8]> = vec![b"XADD", KEY, b"*"];
    for (field, value) in [action, first, second, third].into_iter().zip(&values) {
        arguments.extend([field, value.as_bytes()]);
    }
    encode(out, &arguments);
}

fn read_all(control: &mut Control, items: usize) -> anyhow::Result<()> {
    for _ in (0..items).step_by(DEPTH) {
        let count = DEPTH.to_string();
        let read: [&[u8]; 9] =
            [b"XREADGROUP", b"GROUP", GROUP, b"consumer", b"COUNT", count.as_bytes(), b"STREAMS", KEY, b">"];
        control.call(&read)?;
    }
    let pending = control.call(&[b"XPENDING", KEY, GROUP])?;
    ensure!(pending == items.to_string().as_bytes(), "{items} entries must be pending");
    Ok(())
}

/// Letters and digits that no packing can guess, the same for the same `item`.
fn text(item: usize, len: usize) -> String {
    let mut state = (item as u64).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut next = || {
        state = (state ^ (state >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9).wrapping_add(0x94D0_49BB);
        char::from(b"abcdefghijklmnopqrstuvwxyz012345"[(state >> 59) as usize])
    };
    (0..len).map(|_| next()).collect()
}

/// Resident memory of a process, as Linux counts it.
fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    Ok(kilobytes.with_context(|| format!("{path} has no VmRSS"))? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_differ_and_repeat_by_item() {
        let texts: std::collections::HashSet<String> = (0..10_000).map(|item| text(item, 16)).collect();
        assert_eq!(texts.len(), 10_000);
        assert_eq!(text(7, 16), text(7, 16));
    }

    #[test]
    fn this_process_is_resident() {
        assert!(resident_bytes(std::process::id()).unwrap() > 100_000);
        assert!(resident_bytes(u32::MAX).is_err());
    }
}
