//! The generators by the names that the table uses.

use super::super::episode::Arg;
use super::super::world::Holds;
use super::Draw;

pub(super) type Generator = fn(&mut Draw<'_>);

/// In the order of the alphabet.
pub(super) const KINDS: &[(&str, Generator)] = &[
    ("caller", |draw| draw.caller()),
    ("channel", |draw| draw.one_of(&["c1", "c2", "d1"])),
    ("client", |draw| {
        let client = draw.rng.usize(..draw.world.clients);
        draw.args.push(Arg::Client(client));
    }),
    ("client-name", |draw| draw.one_of(&["one", "two", "with space", ""])),
    ("consumer", |draw| draw.one_of(&["alice", "bob", "carol"])),
    ("conversion", |draw| draw.conversion()),
    ("count", |draw| draw.one_of(&["1", "2", "3", "10", "1", "2", "3", "10", "0", "-1"])),
    ("cursor", |draw| draw.cursor()),
    ("digest", |draw| draw.digest()),
    ("end", |draw| draw.bound("+")),
    ("field", |draw| draw.one_of(&["f", "g", "f", ""])),
    ("float", |draw| {
        draw.one_of(&[
            "1",
            "0.5",
            "-2.25",
            "3.0e2",
            "0.1",
            "-1",
            "1e-7",
            "12345678.875",
            "5e3",
            "nan",
            "inf",
        ]);
    }),
    ("floating", |draw| draw.key_of(Holds::Integer, |holds| matches!(holds, Holds::Integer | Holds::Float))),
    ("group", |draw| draw.group()),
    ("group-read", |draw| draw.group_read()),
    ("hash", |draw| draw.key_of(Holds::Hash, |holds| holds == Holds::Hash)),
    ("hash-field", |draw| draw.hash_field()),
    ("hash-pair", |draw| draw.hash_pair()),
    ("id", |draw| draw.id()),
    ("idle", |draw| draw.one_of(&["0", "5000000", "5000000"])),
    ("index", |draw| draw.one_of(&["0", "0", "1", "2", "-1", "-1", "-2", "5", "-100", "100"])),
    ("integer", |draw| draw.key_of(Holds::Integer, |holds| holds == Holds::Integer)),
    ("key", |draw| draw.any_key(4)),
    ("key-pattern", |draw| draw.one_of(&["*", "?", "[a-c]", "a*", "nos", "[^v]", "\\a", "l?x"])),
    ("later-id", |draw| draw.later_id()),
    ("length", |draw| draw.one_of(&["0", "1", "2", "3", "5", "8"])),
    ("lex", |draw| draw.lex()),
    ("lex-max", |draw| draw.lex_bound("+")),
    ("lex-member", |draw| draw.lex_member()),
    ("lex-min", |draw| draw.lex_bound("-")),
    ("limit", |draw| draw.one_of(&["0", "1", "10", "1000"])),
    ("limit-count", |draw| draw.one_of(&["1", "2", "3", "10", "-1", "0"])),
    ("loaded", |draw| draw.loaded()),
    ("many-ints", |draw| draw.many(|draw, index| draw.text(&(index * 37).to_string()))),
    ("many-members", |draw| draw.many(|draw, index| draw.text(&format!("e{index}")))),
    ("many-pairs", |draw| {
        draw.many(|draw, index| {
            draw.text(&format!("e{index}"));
            draw.text(&index.to_string());
        });
    }),
    ("many-scored", |draw| {
        draw.many(|draw, index| {
            draw.text(&(index % 17).to_string());
            draw.text(&format!("e{index}"));
        });
    }),
    ("member", |draw| draw.member()),
    ("member-pattern", |draw| draw.one_of(&["*", "m*", "m[12]", "*5*", "nos", "e1?", "n1"])),
    ("milliseconds", |draw| draw.time_to_live(1_000)),
    ("min-idle", |draw| draw.one_of(&["0", "0", "0", "3000000"])),
    ("new-group", |draw| draw.new_group()),
    ("new-id", |draw| draw.new_id()),
    ("number", |draw| match draw.rng.u8(..30) {
        0 => draw.one_of(&["9223372036854775807", "-9223372036854775808", "9223372036854775800", "1.5"]),
        _ => draw.one_of(&["1", "2", "-3", "10", "0", "123456789", "-70000"]),
    }),
    ("number-field", |draw| match draw.rng.u8(..12) {
        0 => draw.hash_field(),
        _ => draw.one_of(&["n1", "n2"]),
    }),
    ("offset", |draw| draw.one_of(&["0", "0", "1", "2", "3", "10"])),
    ("parameter", |draw| draw.one_of(&["maxmemory", "databases", "nosuch", "stream-node-max-*", "SAVE"])),
    ("past-ms", |draw| draw.one_of(&["1", "1000000"])),
    ("pattern", |draw| draw.one_of(&["c*", "*", "c[12]", "?1", "d1", "nos*"])),
    ("pop-count", |draw| draw.one_of(&["100000", "100000", "0"])),
    ("positive", |draw| draw.one_of(&["1", "2", "3", "10"])),
    ("random-count", |draw| draw.one_of(&["100000", "100000", "0", "-3", "-1"])),
    ("rank-from", |draw| draw.one_of(&["0", "1", "-2", "3", "10", "100"])),
    ("rank-to", |draw| draw.one_of(&["0", "1", "-2", "-1", "-100", "4"])),
    ("score", |draw| draw.score()),
    ("score-max", |draw| draw.score_bound("+inf")),
    ("score-min", |draw| draw.score_bound("-inf")),
    ("seconds", |draw| match draw.rng.u8(..8) {
        0 => draw.one_of(&["-1", "0"]),
        _ => draw.later(1),
    }),
    ("set", |draw| draw.key_of(Holds::Set, |holds| holds == Holds::Set)),
    ("sets-counted", |draw| draw.counted(|draw| draw.key_of(Holds::Set, |holds| holds == Holds::Set))),
    ("small", |draw| draw.one_of(&["0", "1", "2", "3", "5", "20"])),
    ("small-int", |draw| match draw.rng.u8(..10) {
        0 => draw.one_of(&[
            "40000",
            "-5000000000",
            "007",
            "+1",
            "9223372036854775807",
            "-0",
            "32767",
            "-32769",
        ]),
        _ => {
            let number = draw.rng.i32(-4..8);
            draw.text(&number.to_string());
        }
    }),
    ("sortable", |draw| draw.key_of(Holds::Set, |holds| matches!(holds, Holds::Set | Holds::SortedSet))),
    ("start", |draw| draw.bound("-")),
    ("stream", |draw| draw.stream()),
    ("streams-group", |draw| draw.streams(&[">", ">", ">", "0"])),
    ("streams-new", |draw| draw.streams_once(&[">"])),
    ("streams-read", |draw| draw.streams(&["0", "0", "$", ""])),
    ("streams-wait", |draw| draw.streams_once(&["$", "$", "0", ""])),
    ("string", |draw| {
        draw.key_of(Holds::Text, |holds| matches!(holds, Holds::Text | Holds::Integer | Holds::Float));
    }),
    ("text", |draw| draw.string_value()),
    ("there", |draw| draw.key_there()),
    ("timeout", |draw| {
        let timeout = if draw.world.may_block && draw.rng.u8(..4) > 0 { "0" } else { "1" };
        draw.text(timeout);
    }),
    ("timeout-seconds", |draw| {
        let timeout = if draw.world.may_block && draw.rng.u8(..4) > 0 { "0" } else { "0.001" };
        draw.text(timeout);
    }),
    ("type", |draw| draw.one_of(&["stream", "string", "hash", "set", "zset", "nosuch"])),
    ("unix-milliseconds", |draw| draw.point_in_time(&["99999999999123", "99999999999999"])),
    ("unix-seconds", |draw| draw.point_in_time(&["99999999999", "99999999998"])),
    ("value", |draw| draw.one_of(&["1", "2", "three", ""])),
    ("weights", |draw| draw.weights()),
    ("zset", |draw| draw.key_of(Holds::SortedSet, |holds| holds == Holds::SortedSet)),
    ("zsets-alone", |draw| {
        draw.counted(|draw| draw.key_of(Holds::SortedSet, |holds| holds == Holds::SortedSet));
    }),
    ("zsets-counted", |draw| {
        draw.counted(|draw| {
            draw.key_of(Holds::SortedSet, |holds| matches!(holds, Holds::SortedSet | Holds::Set));
        });
    }),
];

#[cfg(test)]
mod tests {
    use super::KINDS;

    #[test]
    fn kinds_are_in_order() {
        assert!(KINDS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
