//! The differences that are accepted, each with a key, a way to look past it, and a conversation that shows it.
//!
//! Why each is accepted is said in `docs/differences.md`, under the same keys; a test holds the two lists together, and another
//! runs every conversation, so that no line outlives its reason.

use super::frames::{Sent, out_of_band};
use super::normalise::{map, mask, pairs, rebuilt};
use crate::wire::Value;

/// One accepted difference.
#[derive(Debug, Clone, Copy)]
pub struct Difference {
    /// Its name here and in the document.
    pub key: &'static str,
    /// Whether the two servers hold different things afterwards, so that the episode must end.
    pub diverges: bool,
    /// Client and command, step by step: what shows it.
    pub witness: &'static [(usize, &'static str)],
    look_past: LookPast,
}

/// Takes a command and the two replies, ours first, and gives them without what this difference explains.
type LookPast = fn(&Sent, Value, Value) -> (Value, Value);

/// The document.
pub const DOCUMENT: &str = include_str!("../../../../docs/differences.md");

/// The accepted differences.
pub const DIFFERENCES: &[Difference] = &[
    Difference {
        key: "gone-while-waiting",
        diverges: false,
        witness: &[
            (0, "XGROUP CREATE a g $ MKSTREAM"),
            (1, "XREADGROUP GROUP g alice BLOCK 0 STREAMS a >"),
            (0, "DEL a"),
        ],
        look_past: gone_while_waiting,
    },
    Difference {
        key: "runs-again-whole",
        diverges: true,
        witness: &[
            (1, "XREAD BLOCK 0 STREAMS a b $ $"),
            (0, "MULTI"),
            (0, "XADD a 1-1 f v"),
            (0, "XADD b 1-1 f v"),
            (0, "EXEC"),
        ],
        look_past: runs_again_whole,
    },
    Difference {
        key: "trimmed-at-once",
        diverges: true,
        witness: &[(1, "XREAD BLOCK 0 STREAMS a $"), (0, "XADD a MAXLEN 0 1-1 f v")],
        look_past: trimmed_at_once,
    },
    Difference {
        key: "lag",
        diverges: false,
        witness: &[
            (0, "XADD a 1-1 f v"),
            (0, "XADD a 1-2 f v"),
            (0, "XADD a 1-3 f v"),
            (0, "XGROUP CREATE a g 0"),
            (0, "XREADGROUP GROUP g alice COUNT 1 STREAMS a >"),
            (0, "XTRIM a MAXLEN 1"),
            (0, "XINFO GROUPS a"),
        ],
        look_past: lag,
    },
    Difference {
        key: "consumer-activity",
        diverges: false,
        witness: &[
            (0, "XGROUP CREATE a g 0 MKSTREAM"),
            (0, "XGROUP CREATECONSUMER a g alice"),
            (0, "XINFO CONSUMERS a g"),
        ],
        look_past: consumer_activity,
    },
    Difference {
        key: "consumer-by-attempt",
        diverges: false,
        witness: &[
            (0, "XGROUP CREATE a g 0 MKSTREAM"),
            (0, "XREADGROUP GROUP g alice STREAMS a >"),
            (0, "XINFO GROUPS a"),
        ],
        look_past: consumer_by_attempt,
    },
    Difference {
        key: "own-message",
        diverges: false,
        witness: &[(0, "HELLO 3"), (0, "SUBSCRIBE c1"), (0, "PUBLISH c1 hello")],
        // It is in the order of frames, which is looked past where they are put side by side.
        look_past: |_, ours, oracle| (ours, oracle),
    },
    Difference {
        key: "zero-sign",
        diverges: false,
        witness: &[
            (
                0,
                "ZADD w 1 a-member-of-more-than-sixty-four-bytes-which-no-compact-encoding-of-a-sorted-set-holds",
            ),
            (0, "ZADD w -0 m1"),
            (0, "ZSCORE w m1"),
        ],
        look_past: zero_sign,
    },
    Difference {
        key: "score-text",
        diverges: false,
        witness: &[(0, "ZADD w 0.1 m1"), (0, "ZSCORE w m1")],
        look_past: score_text,
    },
    Difference {
        key: "beyond-64-bits",
        diverges: true,
        witness: &[(0, "SET v 92233720368547758089223372036854775808"), (0, "INCRBYFLOAT v 1.5")],
        look_past: beyond_64_bits,
    },
    Difference {
        key: "timeout-overflow",
        diverges: false,
        witness: &[(0, "BZPOPMIN w 99999999999999999999")],
        look_past: timeout_overflow,
    },
    Difference {
        key: "unbalanced-text",
        diverges: false,
        witness: &[(0, "XREAD STREAMS a b 0")],
        look_past: unbalanced_text,
    },
    Difference {
        key: "xsetid-below-deleted",
        diverges: true,
        witness: &[(0, "XADD a 1-1 f v"), (0, "XADD a 2-2 f v"), (0, "XDEL a 2-2"), (0, "XSETID a 1-1")],
        look_past: xsetid_below_deleted,
    },
];

/// From here on sums are as exact as a double.
const TWO_TO_64: f64 = 18_446_744_073_709_551_616.0;

/// Two replies about time, asked for within one step, differ by at most this.
const DRIFT_MS: i64 = 3_000;

/// Whether two replies differ only because time passes between them.
fn drifts(sent: &Sent, ours: &Value, oracle: &Value) -> bool {
    let (Some(ours), Some(oracle)) = (ours.integer(), oracle.integer()) else { return false };
    let drift = match () {
        () if sent.is("PTTL") || sent.is("PEXPIRETIME") => DRIFT_MS,
        () if sent.is("TTL") || sent.is("EXPIRETIME") => DRIFT_MS / 1_000,
        () => return false,
    };
    ours > 0 && oracle > 0 && ours.abs_diff(oracle) <= drift.unsigned_abs()
}

/// The keys that explain how ours and the oracle's reply differ, if they are explained.
pub(super) fn explain(sent: &Sent, ours: &Value, oracle: &Value) -> Option<Vec<&'static Difference>> {
    if drifts(sent, ours, oracle) {
        return Some(Vec::new());
    }
    let (mut ours, mut oracle) = (ours.clone(), oracle.clone());
    let mut used = Vec::new();
    for difference in DIFFERENCES {
        if ours == oracle {
            break;
        }
        let (past_ours, past_oracle) = (difference.look_past)(sent, ours.clone(), oracle.clone());
        if (&past_ours, &past_oracle) != (&ours, &oracle) {
            used.push(difference);
            (ours, oracle) = (past_ours, past_oracle);
        }
    }
    (ours == oracle).then_some(used)
}

/// Whether two rows of frames differ in nothing but where a client's own messages stand among its replies.
pub(super) fn own_message_elsewhere(ours: &[Value], oracle: &[Value]) -> Option<&'static Difference> {
    let message = |value: &&Value| out_of_band(value).is_some_and(|kind| kind.ends_with("message"));
    let parted = |values: &[Value]| -> (Vec<Value>, Vec<Value>) {
        values.iter().cloned().partition(|value| message(&value))
    };
    let same = ours != oracle && parted(ours) == parted(oracle);
    DIFFERENCES.iter().find(|difference| same && difference.key == "own-message")
}

/// The text of an error, without what a script adds to it.
fn error_text(value: &Value) -> String {
    let text = if value.is_error() { value.text().unwrap_or_default() } else { String::new() };
    text.split_once(" script: ").map_or(text.as_str(), |(own, _)| own).to_owned()
}

/// 7.0 ends the wait with errors of its own; from 7.2 on the command runs again and fails as if sent anew.
fn gone_while_waiting(_: &Sent, ours: Value, oracle: Value) -> (Value, Value) {
    let (new, old) = (error_text(&ours), error_text(&oracle));
    let gone = old == "UNBLOCKED the stream key no longer exists"
        || old == "NOGROUP the consumer group this client was blocked on no longer exists";
    if gone && (new.starts_with("NOGROUP No such key") || new.starts_with("WRONGTYPE")) {
        return (mask("gone"), mask("gone"));
    }
    (ours, oracle)
}

/// 7.0 answers a woken client for the key that woke it; from 7.2 on as if it had just asked: a reader for all that have
/// something, who pops for the first key in its order, or with the error of one of them.
fn runs_again_whole(sent: &Sent, ours: Value, oracle: Value) -> (Value, Value) {
    let pops = ["BZPOPMIN", "BZPOPMAX", "BZMPOP"].iter().any(|name| sent.is(name));
    let blocks = pops || sent.words().iter().any(|arg| arg.eq_ignore_ascii_case(b"BLOCK"));
    let fails = error_text(&ours).starts_with("WRONGTYPE") || error_text(&ours).starts_with("NOGROUP");
    let woken = || (mask("woken"), mask("woken"));
    if blocks && fails && oracle == mask(STILL_WAITS) {
        return woken();
    }
    if let (true, Some([oracle_key, ..])) = (pops, oracle.elements()) {
        let other_key =
            ours.elements().is_some_and(|popped| popped.first().is_some_and(|key| key != oracle_key));
        return if fails || other_key { woken() } else { (ours, oracle) };
    }
    let Some(old) = streams(&oracle).filter(|old| blocks && old.len() == 1) else { return (ours, oracle) };
    let more = streams(&ours).is_some_and(|new| new.len() > 1 && new.contains(&old[0]));
    let for_nothing = old.iter().all(|(_, entries)| *entries == Value::Array(Vec::new()));
    let found = for_nothing && streams(&ours).is_some();
    if more || fails || found { woken() } else { (ours, oracle) }
}

/// What stands for the missing frame of a client that waits on.
pub(super) const STILL_WAITS: &str = "still waits";

/// 7.0 wakes a reader for an entry that its own XADD has trimmed away, with nothing to show.
fn trimmed_at_once(_: &Sent, ours: Value, oracle: Value) -> (Value, Value) {
    let nothing = |(_, entries): &(Value, Value)| *entries == Value::Array(Vec::new());
    if ours == mask(STILL_WAITS) && streams(&oracle).is_some_and(|streams| streams.iter().all(nothing)) {
        return (mask("nothing"), mask("nothing"));
    }
    (ours, oracle)
}

fn streams(value: &Value) -> Option<Vec<(Value, Value)>> {
    match value {
        Value::Map(pairs) => Some(pairs.clone()),
        Value::Array(items) => items
            .iter()
            .map(|item| match item.elements() {
                Some([key, entries]) => Some((key.clone(), entries.clone())),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

/// The counters were corrected after 7.2. Ours must follow the corrected rules, as far as the reply shows what they need.
fn lag(sent: &Sent, ours: Value, oracle: Value) -> (Value, Value) {
    if !sent.is("XINFO") || !lag_follows_the_rules(&ours) {
        return (ours, oracle);
    }
    let hide = |value| without_fields(value, &|name| name == "lag" || name == "entries-read");
    (hide(ours), hide(oracle))
}

/// Checks XINFO STREAM FULL, whose reply has all that the lag is reckoned from. Anything else passes, and so do ids from a
/// clock, which are hidden here.
fn lag_follows_the_rules(full: &Value) -> bool {
    let Some(stream) = pairs(full) else { return true };
    if full.to_string().contains("<auto ") {
        return true;
    }
    let field = |name: &str| find(&stream, name);
    let Some(Value::Array(groups)) = field("groups") else { return true };
    let number = |name: &str| field(name).and_then(Value::integer).unwrap_or(0);
    let id = |name: &str| field(name).map(parse_id).unwrap_or_default();
    let (length, added) = (number("length"), number("entries-added"));
    let (first, last) = (id("recorded-first-entry-id"), id("last-generated-id"));
    let deleted = id("max-deleted-entry-id");
    groups.iter().all(|group| {
        let Some(group) = pairs(group) else { return false };
        let at = find(&group, "last-delivered-id").map(parse_id).unwrap_or_default();
        let read = find(&group, "entries-read").and_then(Value::integer);
        let shown = find(&group, "lag").and_then(Value::integer);
        let expected = if added == 0 || length == 0 {
            Some(0)
        } else if at < first && deleted < first {
            Some(length)
        } else if let (Some(read), true) = (read, deleted < at) {
            Some(added - read)
        } else if at == last {
            Some(0)
        } else if at > last || (deleted != (0, 0) && at < deleted) || deleted >= first {
            None
        } else if at < first {
            Some(length)
        } else if at == first {
            Some(length - 1)
        } else {
            None
        };
        expected == shown
    })
}

fn find<'a>(pairs: &'a [(Value, Value)], name: &str) -> Option<&'a Value> {
    pairs.iter().find(|(key, _)| key.bytes() == Some(name.as_bytes())).map(|(_, value)| value)
}

fn parse_id(value: &Value) -> (u64, u64) {
    let text = value.text().unwrap_or_default();
    let (ms, seq) = text.split_once('-').unwrap_or(("0", "0"));
    (ms.parse().unwrap_or(u64::MAX), seq.parse().unwrap_or(u64::MAX))
}

/// Fields of consumers that came with 7.2.
fn consumer_activity(sent: &Sent, ours: Value, oracle: Value) -> (Value, Value) {
    if !sent.is("XINFO") {
        return (ours, oracle);
    }
    (without_fields(ours, &|name| name == "inactive" || name == "active-time"), oracle)
}

/// From 7.2 on a read or claim makes its consumer even if it gets nothing.
fn consumer_by_attempt(sent: &Sent, ours: Value, oracle: Value) -> (Value, Value) {
    if sent.is("XGROUP") && ours == Value::Integer(0) && oracle == Value::Integer(1) {
        return (mask("made before"), mask("made before"));
    }
    if !sent.is("XINFO") {
        return (ours, oracle);
    }
    let hide = |value| without_idle_consumers(without_fields(value, &|name| name == "consumers"));
    (hide(ours), hide(oracle))
}

/// Leaves out consumers without pending entries, and the numbers of consumers.
fn without_idle_consumers(value: Value) -> Value {
    let is_idle = |item: &Value| {
        pairs(item).is_some_and(|pairs| {
            find(&pairs, "pending") == Some(&Value::Integer(0)) && find(&pairs, "idle").is_some()
                || find(&pairs, "pel-count") == Some(&Value::Integer(0))
                    && find(&pairs, "seen-time").is_some()
        })
    };
    match map(value, &without_idle_consumers) {
        Value::Array(items) => Value::Array(items.into_iter().filter(|item| !is_idle(item)).collect()),
        other => other,
    }
}

/// Leaves out fields that are numbers or null, anywhere.
fn without_fields(value: Value, named: &dyn Fn(&str) -> bool) -> Value {
    match pairs(&value) {
        Some(pairs) => {
            let kept = pairs
                .into_iter()
                .filter(|(key, value)| {
                    value.elements().is_some() || !key.text().is_some_and(|name| named(&name))
                })
                .map(|(key, value)| (key, without_fields(value, named)));
            rebuilt(&value, kept.collect())
        }
        None => map(value, &|value| without_fields(value, named)),
    }
}

/// The x87 has eleven bits more than a double, of which numbers beyond 2^64 show some.
fn beyond_64_bits(sent: &Sent, ours: Value, oracle: Value) -> (Value, Value) {
    let huge = |value: &Value| value.text()?.parse::<f64>().ok().filter(|sum| sum.abs() >= TWO_TO_64);
    let adds = sent.is("INCRBYFLOAT") || sent.is("HINCRBYFLOAT");
    match (huge(&ours), huge(&oracle)) {
        (Some(one), Some(other)) if adds && (one - other).abs() <= one.abs() * f64::EPSILON => {
            (mask("a huge sum"), mask("a huge sum"))
        }
        _ => (ours, oracle),
    }
}

/// 7.0 lets a timeout that is too long wrap around.
fn timeout_overflow(_: &Sent, ours: Value, oracle: Value) -> (Value, Value) {
    if error_text(&ours) == "ERR timeout is out of range" && error_text(&oracle) == "ERR timeout is negative"
    {
        return (mask("too long"), mask("too long"));
    }
    (ours, oracle)
}

/// The sentence changed its wording.
fn unbalanced_text(_: &Sent, ours: Value, oracle: Value) -> (Value, Value) {
    let unbalanced = |value: &Value| error_text(value).starts_with("ERR Unbalanced ");
    if unbalanced(&ours) && unbalanced(&oracle) {
        return (mask("unbalanced"), mask("unbalanced"));
    }
    (ours, oracle)
}

/// 7.0 lets the last id fall below the highest deleted one.
fn xsetid_below_deleted(sent: &Sent, ours: Value, oracle: Value) -> (Value, Value) {
    let refused = "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id";
    let otherwise = "ERR The ID specified in XSETID is smaller than the target stream top item";
    let passes = oracle == Value::Simple(b"OK".to_vec()) || error_text(&oracle) == otherwise;
    if sent.is("XSETID") && error_text(&ours) == refused && passes {
        return (mask("below deleted"), mask("below deleted"));
    }
    (ours, oracle)
}

/// 7.0 writes seventeen digits of a score, 7.2 the fewest that mean it.
fn score_text(sent: &Sent, ours: Value, oracle: Value) -> (Value, Value) {
    fn shortest(value: Value) -> Value {
        let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<f64>().ok();
        match &value {
            Value::Bulk(text) | Value::Double(text) => {
                number(text).map_or(value.clone(), |number| mask(&number.to_string()))
            }
            _ => map(value, &shortest),
        }
    }
    if is_of_sorted_sets(sent) { (shortest(ours), shortest(oracle)) } else { (ours, oracle) }
}

/// Whether a score is zero, with or without a sign.
fn zero_sign(sent: &Sent, ours: Value, oracle: Value) -> (Value, Value) {
    fn unsigned(value: Value) -> Value {
        match &value {
            Value::Bulk(text) if text == b"-0" => Value::bulk("0"),
            Value::Double(text) if text == b"-0" => Value::Double(b"0".to_vec()),
            _ => map(value, &unsigned),
        }
    }
    if is_of_sorted_sets(sent) { (unsigned(ours), unsigned(oracle)) } else { (ours, oracle) }
}

fn is_of_sorted_sets(sent: &Sent) -> bool {
    let name = sent.words().first().map(|name| name.to_ascii_uppercase()).unwrap_or_default();
    name.starts_with(b"Z") || name.starts_with(b"BZ")
}
