//! Scripts, and commands inside of others.

use super::super::episode::{Arg, Generated};
use super::Draw;

/// Scripts that show how values are turned into replies, and replies into values.
const CONVERSIONS: &[&str] = &[
    "return 3.99",
    "return -3.99",
    "return 'text'",
    "return true",
    "return false",
    "return nil",
    "return {1, 2, nil, 4}",
    "return {1, 'two', {3, {4}}, true, false}",
    "return {ok = 'fine'}",
    "return {err = 'My Err'}",
    "return {err = 'ERR my err'}",
    "return redis.status_reply('fine')",
    "return redis.error_reply('MYERR it is')",
    "return redis.error_reply('-MYERR it is')",
    "return tostring(redis.call('SET', KEYS[1] or 'v', '1').ok)",
    "return tostring(10 / 4)",
    "return tostring(1e15) .. ' ' .. tostring(2^53) .. ' ' .. tostring(-0.5)",
    "return tonumber('0x10') + tonumber('  7  ')",
    "return type(redis.call('GET', 'nosuch'))",
    "return redis.call('HINCRBYFLOAT', 'lua', 'f', 3.5)",
    "return redis.call('INCRBYFLOAT', 'lua', 3.5)",
    "redis.call('SET', 'lua', 12345678901234567) return redis.call('GET', 'lua')",
    "redis.call('SET', 'lua', 0.1) return redis.call('GET', 'lua')",
    "return redis.pcall('NOSUCH')",
    "return redis.pcall('GET')",
    "return redis.call('NOSUCH')",
    "return redis.call('INCR', 'lua', 'more')",
    "local reply = redis.pcall('NOSUCH') return reply.err",
    "return #redis.call('KEYS', 'nosuch*')",
    "return redis.sha1hex('')",
    "return {redis.call('TYPE', 'nosuch').ok, type(redis.call('MGET', 'nosuch')[1])}",
    "redis.setresp(3) return redis.call('HGETALL', 'nosuch')",
    "redis.setresp(3) return type(redis.call('GET', 'nosuch'))",
    "return {double = 3.5}",
    "return {map = {a = 1}}",
    "return {set = {a = true}}",
    "return nosuch",
    "nosuch = 1",
    "return {",
    "error('oops')",
    "error({err = 'MYERR oops'})",
    "return string.format('%d %s %.3f', 3, 'x', 2.5)",
    "return table.concat({1, 2, 'x'}, ',')",
    "return {unpack({1, 2, 3}, 2)}",
    "return math.floor(-2.5)",
    "return #ARGV + #KEYS",
    "return cjson.encode({1, 2, 'x', true, {a = 'b'}})",
    "return cjson.encode({[3] = 1})",
    "return cjson.encode({[1] = 1, [100] = 2})",
    "return cjson.encode({0.1, 1e20, 2^53, -1.5, 100})",
    "return cjson.encode('/ and \\n')",
    "return cjson.encode({})",
    "return cjson.decode('[1, 2.5, null, \"x\", [true, false]]')",
    "return cjson.decode('{\"a\": {\"b\": [7]}}').a.b[1]",
    "return tostring(cjson.decode('[null]')[1] == cjson.null)",
    "return cjson.decode('[1,')",
    "return cjson.decode('nosuch')",
    "return cjson.encode({f = print})",
    "return cmsgpack.pack({1, 'two', 3.5, true, -1})",
    "return cmsgpack.pack(1, 300, 70000, 5000000000, -129, 0.1)",
    "return {cmsgpack.unpack(cmsgpack.pack({1, {2, 'x'}}, 'three'))}",
    "return cmsgpack.unpack('nosuch', 3)",
    "return cmsgpack.unpack(string.char(0xc4))",
    "return struct.pack('>I2i4', 258, -2)",
    "return struct.pack('<hLs', 1, 2, 'text')",
    "return {struct.unpack('>I2', string.char(1, 2))}",
    "return struct.size('bhilfd')",
    "return struct.unpack('>I4', 'ab')",
    "return struct.pack('y', 1)",
    "return {bit.band(12, 10), bit.bor(12, 10), bit.bxor(12, 10), bit.bnot(0)}",
    "return {bit.lshift(1, 31), bit.rshift(-1, 28), bit.arshift(-8, 1), bit.rol(0x12345678, 12), bit.ror(1, 1)}",
    "return bit.tohex(255, -4) .. bit.tohex(-1) .. tostring(bit.bswap(1)) .. tostring(bit.tobit(2^32 + 5))",
    "return bit.band('x', 1)",
];

/// Scripts that EVALSHA asks for, and their digests. Both servers are told them when an episode begins.
pub(in crate::differential) const LOADED: &[(&str, &str)] = &[
    ("return 3.99", "96a73eb2d11e2649f9191db08cadffa71d25fecf"),
    ("return -3.99", "134236733845e7f6ed3c70e2893e0f0d0ff670c7"),
    ("return 'text'", "87da56ab1ceaefdab9b138f3d32b55ce9bda5b8d"),
    ("return true", "b36f6a251a4827a53c13e202f3feb7d9f4350dee"),
    ("return {1, 2, nil, 4}", "bc9f4bc29d99d20555410d11c518b185f3804c96"),
    ("return {KEYS[1], ARGV[1], #ARGV}", "8dc2818ba1623288be206a9b42ace2bc5a8f2fd5"),
    ("return redis.call('DBSIZE')", "d1df1372d92f8e6fa0a2fd40c3baa73fe325f647"),
    ("return redis.call(ARGV[1], KEYS[1])", "d86181cf7d63b387b793b5fd7cbd33c400b91a97"),
];

/// The last of them, which calls a command.
const CALLER: &str = "d86181cf7d63b387b793b5fd7cbd33c400b91a97";

/// No script has it.
const UNKNOWN: &str = "0000000000000000000000000000000000000000";

/// How a command is called from a script.
const CALLS: &[&str] = &[
    "return redis.call(unpack(ARGV))",
    "return redis.pcall(unpack(ARGV))",
    "redis.setresp(3) return redis.call(unpack(ARGV))",
    "redis.setresp(3) return redis.pcall(unpack(ARGV))",
];

impl Draw<'_> {
    pub(super) fn conversion(&mut self) {
        self.one_of(CONVERSIONS);
    }

    pub(super) fn digest(&mut self) {
        let digest =
            if self.rng.u8(..16) == 0 { UNKNOWN } else { LOADED[self.rng.usize(..LOADED.len() - 1)].1 };
        self.text(digest);
    }

    /// The script that calls a command: what it is asked for must follow.
    pub(super) fn caller(&mut self) {
        self.text(CALLER);
    }

    /// The text of a script that EVALSHA asks for.
    pub(super) fn loaded(&mut self) {
        let (script, _) = LOADED[self.rng.usize(..LOADED.len())];
        self.text(script);
    }
}

/// The same command, called by a script.
pub(in crate::differential) fn wrap_in_script(rng: &mut fastrand::Rng, inner: Generated) -> Generated {
    let script = CALLS[rng.usize(..CALLS.len())];
    wrapped(&["EVAL", script, "0"], inner)
}

/// The same command, asked for its keys.
pub(in crate::differential) fn wrap_in_getkeys(inner: Generated) -> Generated {
    Generated { inner_at: None, ..wrapped(&["COMMAND", "GETKEYS"], inner) }
}

fn wrapped(words: &[&str], inner: Generated) -> Generated {
    let mut args: Vec<Arg> = words.iter().map(|word| Arg::Bytes(word.as_bytes().to_vec())).collect();
    args.extend(inner.args);
    let name = super::name_of(words.iter().copied());
    Generated { args, options: vec![name.clone()], name, inner_at: Some(words.len()), ..inner }
}
