//! Queues in RSMQ's layout: the steps that every message takes, each as one command. No other server has them. A client that knows
//! them sends them in place of the scripts that do the same elsewhere; the arguments, the replies and what is in the keys afterwards
//! are those of the scripts (`crates/cauce/src/queue/scripts`, where they are described), so both can be used on one queue at the
//! same time, and by RSMQ's own clients as well. They save the interpreter, which is most of what a script costs.

mod delete;
mod names;
mod receive;
mod send;

use self::names::Names;
use super::{arg, numbers};
use crate::call::Call;
use crate::collections::Hash;
use crate::command::{CommandSpec, Flags, Handler, Keys};
use crate::errors::Error;
use crate::keyspace::Slot;

const fn row(
    name: &'static str,
    arity: i32,
    flags: Flags,
    summary: &'static str,
    run: Handler,
) -> CommandSpec {
    CommandSpec {
        // The sorted set of the messages, and the hash.
        keys: Keys::Range { first: 1, last: 2, step: 1 },
        group: "queue",
        complexity: "O(M*log(N)) with M being the number of messages of the call and N the number of messages in the queue.",
        ..CommandSpec::new(name, arity, flags, "7.2.4", summary, run)
    }
}

#[rustfmt::skip]
pub(crate) const COMMANDS: &[CommandSpec] = &[
    row("rsmq.delete", -5, Flags::WRITE, "Deletes messages of a queue in RSMQ's layout, each if its receive count is as given.", delete::run),
    row("rsmq.receive", 6, Flags::WRITE, "Receives visible messages of a queue in RSMQ's layout, hiding or deleting them.", receive::run),
    row("rsmq.send", -11, Flags::WRITE.and(Flags::DENYOOM).and(Flags::PUBSUB), "Sends messages to a queue in RSMQ's layout and announces them.", send::run),
];

/// Where the channel stands that a send announces on; it may be empty, for none.
pub(crate) const SEND_CHANNEL_AT: usize = 5;

/// A queue that is there, and its settings.
struct Queue<'a> {
    messages: &'a [u8],
    hash: &'a [u8],
    fields: Slot,
    /// Milliseconds.
    vt: f64,
    delay: f64,
    /// UTF-16 units of a body.
    length_max: f64,
    /// Some messages have more fields than RSMQ's.
    has_extras: bool,
}

impl<'a> Queue<'a> {
    /// Reads the settings; what is wrong with them is replied, and `None` returned.
    fn open(call: &mut Call<'_>, args: &[&'a [u8]]) -> Result<Option<Self>, Error> {
        let (messages, hash, units) = (arg(args, 1), arg(args, 2), arg(args, 3));
        let Some(fields) = call.find_as::<Hash>(hash)? else {
            call.reply.bulk(b"queueNotFound");
            return Ok(None);
        };
        let (found, reply) = call.collection::<Hash>(fields);
        let settings = ["vt", "delay", "maxsize"].map(|name| found.value(name.as_bytes()));
        let [Some(vt), Some(delay), Some(length_max)] = settings else {
            reply.bulk(b"queueNotFound");
            return Ok(None);
        };
        let seconds = match [vt, delay].map(numbers::lenient_double) {
            [Some(vt), Some(delay)] if units != b"checked" || !is_foreign(found, vt, delay) => [vt, delay],
            _ => {
                reply.array(3);
                [b"foreignUnits".as_slice(), vt, delay].iter().for_each(|text| reply.bulk(text));
                return Ok(None);
            }
        };
        let [vt, delay] = seconds.map(|number| if units == b"ms" { number } else { number * 1000.0 });
        let length_max = numbers::lenient_double(length_max).filter(|&max| max >= 0.0);
        Ok(Some(Self {
            messages,
            hash,
            fields,
            vt,
            delay,
            length_max: length_max.unwrap_or(f64::INFINITY),
            has_extras: found.value(b"extras").is_some(),
        }))
    }

    /// A total with so many more.
    fn total(&self, call: &Call<'_>, name: &str, more: usize) -> String {
        let total = call.look::<Hash>(self.fields).value(name.as_bytes()).and_then(cauce_resp::parse_i64);
        let more = i64::try_from(more).unwrap_or(i64::MAX);
        total.unwrap_or_default().saturating_add(more).to_string()
    }
}

/// Whether vt and delay, which should be seconds, were written in milliseconds. Such are in a range of their own, are whole seconds, or
/// belong to a queue whose totals begin with 0 (RSMQ's have none before the first message).
fn is_foreign(hash: &Hash, vt: f64, delay: f64) -> bool {
    const SECONDS_MAX: f64 = 9_999_999.0;
    if vt < 1000.0 && delay < 1000.0 {
        return false;
    }
    let is = |name: &str, value: &str| hash.value(name.as_bytes()) == Some(value.as_bytes());
    let whole = |number: f64| number % 1000.0 == 0.0;
    vt > SECONDS_MAX
        || delay > SECONDS_MAX
        || (!is("units", "s")
            && (is("totalsent", "0")
                || is("totalrecv", "0")
                || ((vt >= 1000.0 || vt == 0.0) && whole(vt) && whole(delay))))
}
