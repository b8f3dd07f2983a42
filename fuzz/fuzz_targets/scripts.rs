//! Scripts that hand any values to commands, to the libraries and back as their result: the bridge to Lua never panics, a
//! script is answered with whole replies, and what it changed replays.

#![no_main]

use std::fmt::Write;

use cauce_fuzz::Pair;
use libfuzzer_sys::{arbitrary, arbitrary::Arbitrary, fuzz_target};

/// Values inside values.
const DEPTH_MAX: usize = 8;

#[derive(Arbitrary, Debug)]
struct Script {
    resp3: bool,
    keys: Vec<Vec<u8>>,
    arguments: Vec<Vec<u8>>,
    statements: Vec<Value>,
    result: Value,
}

#[derive(Arbitrary, Debug)]
enum Value {
    Nil,
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(Vec<u8>),
    Word(u8),
    Key(u8),
    Argument(u8),
    Saved(u8),
    List(Vec<Value>),
    Pairs(Vec<(Name, Value)>),
    Call(Name, Vec<Value>),
    Command(bool, u8, Vec<Value>),
    /// Any text, compiled if it compiles.
    Code(Vec<u8>),
    /// A table that contains itself.
    Circle,
}

/// What tables and functions are called.
#[derive(Arbitrary, Debug)]
struct Name(u8);

const FIELDS: &[&str] = &[
    "ok",
    "err",
    "double",
    "map",
    "set",
    "big_number",
    "verbatim_string",
    "string",
    "format",
    "source",
    "line",
    "x",
];

const FUNCTIONS: &[&str] = &[
    "cjson.encode",
    "cjson.decode",
    "cjson.encode_sparse_array",
    "cjson.encode_max_depth",
    "cjson.decode_max_depth",
    "cjson.encode_number_precision",
    "cjson.encode_keep_buffer",
    "cjson.encode_invalid_numbers",
    "cjson.decode_invalid_numbers",
    "cmsgpack.pack",
    "cmsgpack.unpack",
    "cmsgpack.unpack_one",
    "cmsgpack.unpack_limit",
    "struct.pack",
    "struct.unpack",
    "struct.size",
    "bit.tobit",
    "bit.tohex",
    "bit.bnot",
    "bit.band",
    "bit.bor",
    "bit.bxor",
    "bit.lshift",
    "bit.rshift",
    "bit.arshift",
    "bit.rol",
    "bit.ror",
    "bit.bswap",
    "redis.error_reply",
    "redis.status_reply",
    "redis.sha1hex",
    "redis.log",
    "redis.setresp",
    "redis.set_repl",
    "redis.acl_check_cmd",
    "redis.breakpoint",
    "redis.debug",
    "redis.replicate_commands",
    "tostring",
    "tonumber",
    "type",
    "next",
    "rawget",
    "rawset",
    "rawequal",
    "getmetatable",
    "setmetatable",
    "select",
    "unpack",
    "pcall",
    "xpcall",
    "error",
    "assert",
    "loadstring",
    "load",
    "math.random",
    "math.randomseed",
    "math.floor",
    "string.len",
    "string.format",
    "string.byte",
    "string.char",
    "string.sub",
    "string.find",
    "table.concat",
    "table.insert",
    "table.remove",
    "table.sort",
    "table.maxn",
    "collectgarbage",
    "coroutine.create",
    "coroutine.resume",
    "coroutine.wrap",
    "coroutine.status",
    "__redis__err__handler",
];

const COMMANDS: &[&str] = &[
    "SET",
    "GET",
    "DEL",
    "INCRBYFLOAT",
    "HSET",
    "HGETALL",
    "HINCRBYFLOAT",
    "SADD",
    "SMEMBERS",
    "ZADD",
    "ZRANGE",
    "ZPOPMIN",
    "XADD",
    "XREAD",
    "XRANGE",
    "XGROUP",
    "XREADGROUP",
    "XACK",
    "XINFO",
    "EXPIRE",
    "TYPE",
    "SELECT",
    "SCAN",
    "MGET",
    "ZSCORE",
    "COMMAND",
    "CONFIG",
    "TIME",
    "PING",
    "ECHO",
    "EVAL",
    "SUBSCRIBE",
    "MULTI",
    "PUBLISH",
    "OBJECT",
    "SPOP",
    "LCS",
    "NONE",
];

const WORDS: &[&str] = &[
    "key",
    "*",
    "0",
    "-",
    "+",
    "$",
    ">",
    "COUNT",
    "1",
    "STREAMS",
    "GROUP",
    "CREATE",
    "MKSTREAM",
    "g",
    "c",
    "WITHSCORES",
    "FULL",
    "STREAM",
    "BLOCK",
    "0-1",
    "1.5",
    "inf",
    "-1",
    "NX",
    "GET",
    "KEEPTTL",
    "IDX",
    ">i4",
    "<d",
    "s",
    "c0",
    "%s",
];

fn pick<'a>(list: &[&'a str], index: u8) -> &'a str {
    list[usize::from(index) % list.len()]
}

fn text(out: &mut String, bytes: &[u8]) {
    out.push('"');
    for byte in bytes {
        let _infallible = write!(out, "\\{byte:03}");
    }
    out.push('"');
}

fn list(out: &mut String, values: &[Value], depth: usize) {
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        render(out, value, depth + 1);
    }
}

fn render(out: &mut String, value: &Value, depth: usize) {
    if depth > DEPTH_MAX {
        out.push('1');
        return;
    }
    let _infallible = match value {
        Value::Nil => write!(out, "nil"),
        Value::Null => write!(out, "cjson.null"),
        Value::Bool(value) => write!(out, "{value}"),
        Value::Integer(value) => write!(out, "({value})"),
        Value::Float(value) if value.is_finite() => write!(out, "({value:e})"),
        Value::Float(value) if value.is_nan() => write!(out, "(0/0)"),
        Value::Float(value) => write!(out, "({}1/0)", if *value < 0.0 { "-" } else { "" }),
        Value::Text(bytes) => return text(out, bytes),
        Value::Word(index) => write!(out, "'{}'", pick(WORDS, *index)),
        Value::Key(index) => write!(out, "KEYS[{index}]"),
        Value::Argument(index) => write!(out, "ARGV[{index}]"),
        Value::Saved(index) => write!(out, "saved[{index}]"),
        Value::Circle => write!(out, "circle"),
        Value::List(values) => {
            out.push('{');
            list(out, values, depth);
            write!(out, "}}")
        }
        Value::Pairs(pairs) => {
            out.push('{');
            for (Name(name), value) in pairs {
                let _infallible = write!(out, "['{}']=", pick(FIELDS, *name));
                render(out, value, depth + 1);
                out.push(',');
            }
            write!(out, "}}")
        }
        Value::Call(Name(name), values) => {
            let _infallible = write!(out, "{}(", pick(FUNCTIONS, *name));
            list(out, values, depth);
            write!(out, ")")
        }
        Value::Command(raises, name, values) => {
            let function = if *raises { "call" } else { "pcall" };
            let _infallible = write!(out, "redis.{function}('{}'", pick(COMMANDS, *name));
            if !values.is_empty() {
                out.push(',');
            }
            list(out, values, depth);
            write!(out, ")")
        }
        Value::Code(bytes) => {
            let _infallible = write!(out, "(loadstring(");
            text(out, bytes);
            write!(out, ") or tostring)()")
        }
    };
}

fuzz_target!(|script: Script| {
    let mut pair = Pair::default();
    pair.open(1);
    if script.resp3 {
        assert!(pair.run(1, &[b"HELLO", b"3"]));
    }
    let mut lua = "local saved, circle = {}, {} circle[1] = circle\n".to_owned();
    for statement in script.statements.iter().take(8) {
        lua.push_str("saved[#saved + 1] = select(2, pcall(function() return ");
        render(&mut lua, statement, 0);
        lua.push_str(" end)) or false\n");
    }
    lua.push_str("return ");
    render(&mut lua, &script.result, 0);
    let count = script.keys.len().to_string();
    let head: [&[u8]; 3] = [b"EVAL", lua.as_bytes(), count.as_bytes()];
    let rest = script.keys.iter().chain(&script.arguments).map(Vec::as_slice);
    let args: Vec<&[u8]> = head.into_iter().chain(rest).collect();
    assert!(pair.run(1, &args), "a script is answered");
    assert!(pair.run(1, &[b"PING"]), "the next command is answered");
    pair.check();
});
