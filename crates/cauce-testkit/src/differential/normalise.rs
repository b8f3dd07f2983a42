//! Takes out of a reply what two servers can't agree on: times, ids from a clock, ids of clients, the order of sets.

use std::collections::HashMap;

use super::frames::Sent;
use crate::wire::Value;

/// An idle time above this was set by a command, not passed.
const IDLE_SET_MS: i64 = 1_000_000;

/// How one server calls what the two call differently.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Client ids.
    pub(super) clients: HashMap<i64, usize>,
    /// Entry ids that a clock made, to their number.
    pub(super) autos: HashMap<Vec<u8>, usize>,
    /// The same by number.
    pub(super) auto_ids: Vec<Vec<u8>>,
}

impl Names {
    /// Learns the id that this reply gives.
    pub(super) fn learn(&mut self, sent: &Sent, value: &Value) {
        if let Value::Bulk(id) = value
            && sent.is("XADD")
            && sent.words().iter().any(|arg| arg == b"*")
        {
            self.autos.insert(id.clone(), self.auto_ids.len());
            self.auto_ids.push(id.clone());
        }
    }

    /// Gives ids from a clock their number where an error names them.
    fn in_text(&self, text: &[u8]) -> Vec<u8> {
        let mut text = String::from_utf8_lossy(text).into_owned();
        for (number, id) in self.auto_ids.iter().enumerate() {
            let id = String::from_utf8_lossy(id);
            text = text.replace(&format!("'{id}'"), &format!("'<auto {number}>'"));
        }
        text.into_bytes()
    }
}

/// A reply in a form that two servers share. What EXEC ran is normalised one by one.
pub(super) fn normalise(sent: &Sent, ran: &[Sent], value: &Value, names: &Names) -> Value {
    match value {
        Value::Array(items) if sent.is("EXEC") && items.len() == ran.len() => {
            let items = items.iter().zip(ran);
            Value::Array(items.map(|(item, sent)| normalise(sent, &[], item, names)).collect())
        }
        Value::Error(text) => Value::Error(names.in_text(text)),
        _ => {
            let value = own(sent, named(value, names), names);
            if sent.generated.inner_at.is_some() { without_order(sent, value) } else { value }
        }
    }
}

/// A map that has been a table of a script has no order.
fn without_order(sent: &Sent, value: Value) -> Value {
    let value = map(value, &|value| without_order(sent, value));
    let of_streams = (sent.is("XREAD") || sent.is("XREADGROUP"))
        && value.elements().is_some_and(|items| {
            items.len() % 2 == 0
                && items.chunks_exact(2).all(|pair| pair[0].bytes().is_some() && pair[1].elements().is_some())
        });
    match (pairs(&value), &value) {
        (Some(mut pairs), _) => {
            pairs.sort();
            rebuilt(&value, pairs)
        }
        (None, Value::Array(items)) if of_streams => {
            let mut pairs: Vec<&[Value]> = items.chunks_exact(2).collect();
            pairs.sort();
            Value::Array(pairs.concat())
        }
        _ => value,
    }
}

/// What is particular to a command.
fn own(sent: &Sent, value: Value, names: &Names) -> Value {
    let words = sent.words();
    let name = words.first().map(|name| name.to_ascii_uppercase()).unwrap_or_default();
    let sub = words.get(1).map(|name| name.to_ascii_uppercase()).unwrap_or_default();
    match (name.as_slice(), sub.as_slice()) {
        (b"XPENDING", _) => each(value, |row| at(row, 2, idle)),
        (b"XINFO", _) => fields(value),
        (b"CLIENT", b"ID") => match value {
            Value::Integer(id) => match names.clients.get(&id) {
                Some(client) => mask(&format!("client {client}")),
                None => value,
            },
            other => other,
        },
        (b"HELLO", _) => hello(value),
        (b"TIME", _) => each(value, |_| mask("time")),
        (b"LASTSAVE", _) | (b"OBJECT", b"IDLETIME") => match value {
            Value::Integer(_) => mask("time"),
            other => other,
        },
        (b"KEYS" | b"HKEYS" | b"HVALS" | b"SMEMBERS" | b"SUNION" | b"SINTER" | b"SDIFF" | b"SPOP", _)
        | (b"PUBSUB", b"CHANNELS" | b"SHARDCHANNELS") => sorted(value),
        (b"HGETALL", _) | (b"CONFIG", b"GET") => sorted_pairs(value),
        (b"SCAN" | b"SSCAN", _) => at(value, 1, sorted),
        (b"HSCAN" | b"ZSCAN", _) => at(value, 1, sorted_pairs),
        (b"RANDOMKEY", _) => chosen(value),
        (b"SRANDMEMBER" | b"HRANDFIELD" | b"ZRANDMEMBER", _) => match words.get(2) {
            Some(count) if count.starts_with(b"-") => each(value, chosen),
            Some(_) if words.len() > 3 => sorted_pairs(value),
            Some(_) => sorted(value),
            None => chosen(value),
        },
        _ => value,
    }
}

/// Gives ids from a clock their number, anywhere.
fn named(value: &Value, names: &Names) -> Value {
    if let Value::Bulk(bytes) = value
        && let Some(number) = names.autos.get(bytes)
    {
        return mask(&format!("auto {number}"));
    }
    map(value.clone(), &|value| named(&value, names))
}

/// The fields of XINFO that are times.
fn fields(value: Value) -> Value {
    match pairs(&value) {
        Some(pairs) => {
            let pairs = pairs.into_iter().map(|(key, value)| {
                let name = key.text().unwrap_or_default();
                let value = match name.as_str() {
                    "idle" | "seen-time" | "active-time" | "inactive" if value != Value::Integer(-1) => {
                        mask("time")
                    }
                    "radix-tree-keys" | "radix-tree-nodes" => mask("layout"),
                    "pending" => each(value, |row| {
                        let time_at = row.elements().map_or(0, |row| row.len().saturating_sub(2));
                        at(row, time_at, |_| mask("time"))
                    }),
                    _ => fields(value),
                };
                (key, value)
            });
            rebuilt(&value, pairs.collect())
        }
        None => map(value, &fields),
    }
}

fn hello(value: Value) -> Value {
    match pairs(&value) {
        Some(pairs) => {
            let pairs = pairs.into_iter().filter(|(key, _)| {
                let name = key.text().unwrap_or_default();
                !["id", "version", "server"].contains(&name.as_str()) && !name.ends_with("_version")
            });
            rebuilt(&value, pairs.collect())
        }
        None => value,
    }
}

/// A map, or a flat array that begins with a name: RESP2's form of one.
pub(super) fn pairs(value: &Value) -> Option<Vec<(Value, Value)>> {
    match value {
        Value::Map(pairs) => Some(pairs.clone()),
        Value::Array(items) if items.len() >= 4 && items.len() % 2 == 0 => {
            let named = items.iter().step_by(2).all(|name| {
                name.text().is_some_and(|name| {
                    name.len() > 1
                        && name.bytes().all(|byte| byte.is_ascii_lowercase() || b"-_".contains(&byte))
                })
            });
            named.then(|| items.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
        }
        _ => None,
    }
}

/// Pairs in the form that they had.
pub(super) fn rebuilt(like: &Value, pairs: Vec<(Value, Value)>) -> Value {
    match like {
        Value::Map(_) => Value::Map(pairs),
        _ => Value::Array(pairs.into_iter().flat_map(|(key, value)| [key, value]).collect()),
    }
}

/// Something that stands for what was taken out.
pub(super) fn mask(what: &str) -> Value {
    Value::Simple(format!("<{what}>").into_bytes())
}

/// Changes every value directly inside.
pub(super) fn map(value: Value, change: &dyn Fn(Value) -> Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(change).collect()),
        Value::Set(items) => Value::Set(items.into_iter().map(change).collect()),
        Value::Push(items) => Value::Push(items.into_iter().map(change).collect()),
        Value::Map(pairs) => {
            Value::Map(pairs.into_iter().map(|(key, value)| (change(key), change(value))).collect())
        }
        other => other,
    }
}

fn each(value: Value, change: impl Fn(Value) -> Value) -> Value {
    map(value, &change)
}

/// Changes one element of an array.
fn at(value: Value, index: usize, change: impl Fn(Value) -> Value) -> Value {
    match value {
        Value::Array(mut items) => {
            if let Some(item) = items.get_mut(index) {
                let old = std::mem::replace(item, Value::Null);
                *item = change(old);
            }
            Value::Array(items)
        }
        other => other,
    }
}

fn idle(value: Value) -> Value {
    match value {
        Value::Integer(ms) if ms >= IDLE_SET_MS => mask("long idle"),
        Value::Integer(_) => mask("not idle"),
        other => other,
    }
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Array(mut items) => {
            items.sort();
            Value::Array(items)
        }
        Value::Set(mut items) => {
            items.sort();
            Value::Set(items)
        }
        other => other,
    }
}

/// Names and values in the order of the names, in whatever form they come.
fn sorted_pairs(value: Value) -> Value {
    match value {
        Value::Map(mut pairs) => {
            pairs.sort();
            Value::Map(pairs)
        }
        Value::Array(items) if items.iter().all(|item| item.bytes().is_some()) && items.len() % 2 == 0 => {
            let mut pairs: Vec<&[Value]> = items.chunks_exact(2).collect();
            pairs.sort();
            Value::Array(pairs.concat())
        }
        other => sorted(other),
    }
}

/// What chance chose.
fn chosen(value: Value) -> Value {
    match value {
        Value::Bulk(_) => mask("one of them"),
        Value::Array(items) => Value::Array(items.into_iter().map(chosen).collect()),
        Value::Double(_) => mask("its score"),
        other => other,
    }
}
