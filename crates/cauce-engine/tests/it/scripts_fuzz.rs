//! Whatever a script returns, passes to a command or hands to a library: no panic, and a reply that is RESP.

use cauce_engine::Outcome;
use proptest::prelude::*;

use crate::support::World;

/// A string of any bytes, as Lua writes it.
fn text() -> impl Strategy<Value = String> {
    let bytes = prop::collection::vec(any::<u8>(), 0..12);
    bytes.prop_map(|bytes| {
        let escaped: String = bytes.iter().map(|byte| format!("\\{byte:03}")).collect();
        format!("'{escaped}'")
    })
}

/// Any value, nested or not.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("nil".to_owned()),
        Just("cjson.null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i32>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| match n {
            n if n.is_nan() => "0/0".to_owned(),
            n if n.is_infinite() => "1/0".to_owned(),
            n => format!("({n:e})"),
        }),
        text(),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let name = prop::sample::select(vec![
            "ok",
            "err",
            "double",
            "map",
            "set",
            "big_number",
            "verbatim_string",
            "string",
            "format",
            "x",
            "1",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|all| format!("{{{}}}", all.join(","))),
            prop::collection::vec((name, inner), 0..4).prop_map(|pairs| {
                let pairs: Vec<String> =
                    pairs.into_iter().map(|(name, value)| format!("['{name}']={value}")).collect();
                format!("{{{}}}", pairs.join(","))
            }),
        ]
    })
}

fn script() -> impl Strategy<Value = String> {
    let command = prop::sample::select(vec![
        "SET", "GET", "HSET", "HGETALL", "ZADD", "ZRANGE", "XADD", "XRANGE", "SADD", "SMEMBERS", "EXPIRE",
        "NONE",
    ]);
    let call = (command, prop::collection::vec(value(), 0..4), any::<bool>());
    let call = call.prop_map(|(command, arguments, resp3)| {
        let arguments: String = arguments.into_iter().map(|argument| format!(",{argument}")).collect();
        let protocol = if resp3 { "redis.setresp(3) " } else { "" };
        format!("{protocol}return redis.pcall('{command}'{arguments})")
    });
    prop_oneof![
        value().prop_map(|value| format!("return {value}")),
        value().prop_map(|value| format!("return cjson.encode({value})")),
        value().prop_map(|value| format!("return cjson.decode(cjson.encode({value}))")),
        value().prop_map(|value| format!("return cmsgpack.unpack(cmsgpack.pack({value}))")),
        text().prop_map(|text| format!("return cjson.decode({text})")),
        text().prop_map(|text| format!("return {{cmsgpack.unpack({text})}}")),
        (text(), text()).prop_map(|(format, text)| format!("return {{struct.unpack({format},{text})}}")),
        (text(), value()).prop_map(|(format, value)| format!("return struct.pack({format},{value})")),
        (value(), value()).prop_map(|(a, b)| format!("return bit.band({a},{b})")),
        value().prop_map(|value| format!("return redis.error_reply({value})")),
        value().prop_map(|value| format!("redis.setresp(3) return {value}")),
        call,
        text().prop_map(|text| format!("return loadstring({text})")),
    ]
}

/// Where the reply that begins at `at` ends; `None` if none does.
fn end_of_reply(bytes: &[u8], at: usize) -> Option<usize> {
    let line = bytes.get(at..)?.windows(2).position(|end| end == b"\r\n")? + at;
    let (kind, head) = bytes.get(at..line)?.split_first()?;
    let number = || std::str::from_utf8(head).ok()?.parse::<i64>().ok();
    let many = |mut at: usize, count: i64| {
        for _ in 0..count.max(0) {
            at = end_of_reply(bytes, at)?;
        }
        Some(at)
    };
    match kind {
        b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => Some(line + 2),
        b'$' | b'=' if number()? < 0 => Some(line + 2),
        b'$' | b'=' => {
            let end = line + 2 + usize::try_from(number()?).ok()?;
            (bytes.get(end..end + 2)? == b"\r\n").then_some(end + 2)
        }
        b'*' | b'~' => many(line + 2, number()?),
        b'%' => many(line + 2, number()? * 2),
        _ => None,
    }
}

proptest! {
    #[test]
    fn any_script_is_answered_with_one_reply(scripts in prop::collection::vec((script(), any::<bool>()), 1..8)) {
        let mut world = World::new();
        for (script, resp3) in scripts {
            let protocol: &[u8] = if resp3 { b"3" } else { b"2" };
            prop_assert_eq!(world.run_args(1, &[b"HELLO", protocol]).0, Outcome::Replied);
            let (outcome, _) = world.run_args(1, &[b"EVAL", script.as_bytes(), b"1", b"key", b"argument"]);
            prop_assert_eq!(outcome, Outcome::Replied);
            let replies = &world.out.replies;
            prop_assert_eq!(end_of_reply(replies, 0), Some(replies.len()), "{}: {:?}", script, String::from_utf8_lossy(replies));
        }
        world.assert_recovers();
    }
}
