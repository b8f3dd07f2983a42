//! Scripts: what EVAL answers, and that a script is one unit.

use cauce_engine::{Outcome, Settings};

use crate::support::World;

/// Runs a script with no keys and compares the answer.
#[track_caller]
fn check(world: &mut World, script: &str, expected: &str) {
    let args: [&[u8]; 3] = [b"EVAL", script.as_bytes(), b"0"];
    assert_eq!(world.run_args(1, &args).1, expected, "{script}");
}

#[test]
fn results_are_converted_as_redis_converts_them() {
    let mut world = World::new();
    for (script, expected) in [
        ("return 3.99", ":3"),
        ("return -3.99", ":-3"),
        ("return 1e20", ":-9223372036854775808"),
        ("return 'x'", "$1 x"),
        ("return true", ":1"),
        ("return false", "$-1"),
        ("return nil", "$-1"),
        ("return {1,2,nil,3}", "*2 :1 :2"),
        ("return {1,{2,{3}},'x',true,false}", "*5 :1 *2 :2 *1 :3 $1 x :1 $-1"),
        ("return {a=1}", "*0"),
        ("return {ok='fine'}", "+fine"),
        ("return {err='MY error'}", "-MY error"),
        ("return {double=3.5}", "$3 3.5"),
        ("return {map={a=1}}", "*2 $1 a :1"),
        ("return {set={a=true}}", "*1 $1 a"),
        ("return {big_number='123'}", "$3 123"),
        ("return {verbatim_string={format='txt',string='hi'}}", "$2 hi"),
        ("return redis.status_reply('PONG')", "+PONG"),
        ("return redis.error_reply('oops')", "-ERR oops"),
        ("return redis.call", "$-1"),
        ("math.randomseed(0) return math.random(1000000)", ":170829"),
    ] {
        check(&mut world, script, expected);
    }
    assert_eq!(world.run(2, "HELLO 3").split(' ').next(), Some("%7"));
    let script = "redis.setresp(3) return {true, {double=1.5}, {map={a=false}}, {big_number='1'}}";
    let args: [&[u8]; 3] = [b"EVAL", script.as_bytes(), b"0"];
    assert_eq!(world.run_args(2, &args).1, "*4 #t ,1.5 %1 $1 a #f (1");
}

#[test]
fn replies_reach_the_script_in_the_protocol_that_it_asks_for() {
    let mut world = World::new();
    for (script, expected) in [
        ("return redis.call('SET', 'k', 1.5)", "+OK"),
        ("return redis.call('GET', 'k') + 1", ":2"),
        ("return redis.call('SET', 'k', 'x')['ok']", "$2 OK"),
        ("return tostring(redis.call('GET', 'nosuch'))", "$5 false"),
        ("redis.setresp(3) return tostring(redis.call('GET', 'nosuch'))", "$3 nil"),
        ("redis.call('HSET', 'h', 'f', 'v') return redis.call('HGETALL', 'h')[2]", "$1 v"),
        ("redis.setresp(3) return redis.call('HGETALL', 'h').map.f", "$1 v"),
        (
            "redis.call('SET', 'n', 1795415132 * 1000000) return redis.call('GET', 'n')",
            "$16 1795415132000000",
        ),
    ] {
        check(&mut world, script, expected);
    }
}

#[test]
fn errors_say_where_they_happened() {
    let mut world = World::new();
    for (script, expected) in [
        ("return redis.call('nosuch')", "-ERR Unknown Redis command called from script script: "),
        ("return redis.call('get')", "-ERR Wrong number of args calling Redis command from script script: "),
        ("return redis.call('multi')", "-ERR This Redis command is not allowed from script script: "),
        ("local x; x.y = 1", "-ERR user_script:1: attempt to index local 'x' (a nil value) script: "),
        (
            "return y",
            "-ERR user_script:1: Script attempted to access nonexistent global variable 'y' script: ",
        ),
        ("y = 1", "-ERR user_script:1: Attempt to modify a readonly table script: "),
        ("redis.call = nil", "-ERR user_script:1: Attempt to modify a readonly table script: "),
        ("error('x')", "-ERR user_script:1: x script: "),
        ("error({err='MY x'})", "-MY x script: "),
        (
            "return math.random(0)",
            "-ERR user_script:1: bad argument #1 to 'random' (interval is empty) script: ",
        ),
    ] {
        let args: [&[u8]; 3] = [b"EVAL", script.as_bytes(), b"0"];
        let reply = world.run_args(1, &args).1;
        assert!(reply.starts_with(expected), "{script}: {reply}");
        assert!(reply.ends_with(", on @user_script:1."), "{script}: {reply}");
    }
    check(&mut world, "return redis.pcall('nosuch')", "-ERR Unknown Redis command called from script");
    check(
        &mut world,
        "local ok, e = pcall(redis.call, 'get') return e",
        "$58 ERR Wrong number of args calling Redis command from script",
    );
    // What ends in a space keeps it.
    for (option, shown) in [("x ", "x "), ("", "")] {
        let script = format!("redis.call('SET', 'k', 'v') return redis.call('EXPIRE', 'k', 1, '{option}')");
        let reply = world.run_args(1, &[b"EVAL", script.as_bytes(), b"0"]).1;
        assert!(reply.starts_with(&format!("-ERR Unsupported option {shown} script: ")), "{reply}");
    }
    check(
        &mut world,
        "return (",
        "-ERR Error compiling script (new function): user_script:1: unexpected symbol near '<eof>'",
    );
}

#[test]
fn scripts_are_found_by_their_digest() {
    let mut world = World::new();
    let sha = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
    world.check(&[
        (
            "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0",
            "-NOSCRIPT No matching script. Please use EVAL.",
        ),
        ("SCRIPT KILL", "-NOTBUSY No scripts in execution right now."),
        ("EVAL x -1", "-ERR Number of keys can't be negative"),
        ("EVAL x 1", "-ERR Number of keys can't be greater than number of args"),
        ("EVAL x y", "-ERR value is not an integer or out of range"),
        // A name of another length is no digest; then the number of keys is read, then the script is looked for.
        ("EVALSHA short y", "-NOSCRIPT No matching script. Please use EVAL."),
        (
            "EVALSHA zze1f9fabfc9d4800c877a703b823ac0578ff8db y",
            "-ERR value is not an integer or out of range",
        ),
        ("EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db -1", "-ERR Number of keys can't be negative"),
        (
            "EVALSHA_RO e0e1f9fabfc9d4800c877a703b823ac0578ff8db 2 a",
            "-ERR Number of keys can't be greater than number of args",
        ),
    ]);
    let load: [&[u8]; 3] = [b"SCRIPT", b"LOAD", b"return 1"];
    assert_eq!(world.run_args(1, &load).1, format!("$40 {sha}"));
    world.check(&[
        ("EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0", ":1"),
        ("EVALSHA E0E1F9FABFC9D4800C877A703B823AC0578FF8DB 0", ":1"),
        ("SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db x", "*2 :1 :0"),
        ("SCRIPT FLUSH", "+OK"),
        ("SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "*1 :0"),
    ]);
}

#[test]
fn a_script_is_one_unit_and_waiters_are_served_after_it() {
    let mut world = World::new();
    let (outcome, _) = world.run_args(2, &[b"XREAD", b"BLOCK", b"0", b"STREAMS", b"s", b"$"]);
    assert_eq!(outcome, Outcome::Blocked);
    check(&mut world, "redis.call('XADD','s','1-1','f','v') redis.call('DEL','s') return 1", ":1");
    assert!(world.delivered().is_empty());
    let script =
        "redis.call('XADD','s','1-1','f','v') redis.call('SET','k','v') return redis.call('TIME')[1]";
    check(&mut world, script, "$10 1700000000");
    assert_eq!(world.delivered(), ["2!*1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 v"]);
    assert_eq!(world.out.records.unit_lens().collect::<Vec<_>>().len(), 1);
    assert!(world.out.records.iter().count() > 1);
}

#[test]
fn select_in_a_script_ends_with_it() {
    let mut world = World::new();
    check(&mut world, "redis.call('SELECT', 1) redis.call('SET', 'k', 'one') return 1", ":1");
    world.check(&[("GET k", "$-1"), ("SELECT 1", "+OK"), ("GET k", "$3 one")]);
}

#[test]
fn scripts_run_in_transactions_and_break_watches() {
    let mut world = World::new();
    let script: [&[u8]; 3] = [b"EVAL", b"redis.call('SET','k','v') return {'a',1}", b"0"];
    assert_eq!(world.run(1, "MULTI"), "+OK");
    assert_eq!(world.run_args(1, &script).1, "+QUEUED");
    assert_eq!(world.run(1, "EXEC"), "*1 *2 $1 a :1");
    world.check(&[("2> WATCH k", "+OK"), ("2> MULTI", "+OK"), ("2> GET k", "+QUEUED")]);
    assert_eq!(world.run_args(1, &script).1, "*2 $1 a :1");
    assert_eq!(world.run(2, "EXEC"), "*-1");
}

#[test]
fn memory_and_read_only_scripts_have_their_rules() {
    let mut world = World::with(Settings::default());
    let run =
        |world: &mut World, command: &[u8], script: &[u8]| world.run_args(1, &[command, script, b"0"]).1;
    assert!(
        run(&mut world, b"EVAL_RO", b"return redis.call('SET','k','v')").starts_with("-ERR Write commands")
    );
    assert!(
        run(&mut world, b"EVAL", b"#!lua flags=no-writes\nreturn redis.call('SET','k','v')")
            .ends_with(", on @user_script:2.")
    );
    assert_eq!(
        run(&mut world, b"EVAL_RO", b"#!lua\nreturn 1"),
        "-ERR Can not execute a script with write flag using *_ro command."
    );
    for (script, error) in [
        ("#!lua", "-ERR Invalid script shebang"),
        ("#!python\nx", "-ERR Unexpected engine in script shebang: #!python"),
        ("#!lua a=b\nx", "-ERR Unknown lua shebang option: a=b"),
        ("#!lua flags=x\nx", "-ERR Unexpected flag in script shebang: x"),
    ] {
        assert_eq!(run(&mut world, b"EVAL", script.as_bytes()), error);
    }
}

#[test]
fn shutdown_is_left_to_the_broker() {
    let mut world = World::new();
    world.check(&[
        ("SHUTDOWN SAVE NOSAVE", "-ERR syntax error"),
        ("SHUTDOWN ABORT", "-ERR No shutdown in progress."),
    ]);
    assert_eq!(world.run_args(1, &[b"SHUTDOWN", b"NOSAVE"]), (Outcome::Shutdown, String::new()));
}

/// Each would take the process down if nothing held it.
#[test]
fn scripts_have_no_more_memory_and_stack_than_they_may() {
    let mut settings = Settings::default();
    settings.script_memory_max = 32 * 1024 * 1024;
    let mut world = World::with(settings);
    let mut wrong = Vec::new();
    for (script, error) in [
        ("return #string.rep('x', 2^31 - 1)", "not enough memory"),
        ("local t = {} while true do t[#t + 1] = {#t} end", "not enough memory"),
        ("local s = 'x' while true do s = s .. s end", "not enough memory"),
        ("local t = {} for i = 1, 1000 do t[i] = ('x'):rep(1000000) .. i end", "not enough memory"),
        ("return cjson.decode('[' .. ('[],'):rep(2000000) .. '[]]')", "not enough memory"),
        (
            "redis.call('SET', 'b', ('x'):rep(9000000)) local t = {} for i = 1, 9 do t[i] = redis.call('GET', 'b') .. i end",
            "not enough memory",
        ),
        ("local function f() return 1 + f() end return f()", "stack overflow"),
        (
            "local t = {} t.__index = function(_, k) return t[k + 1] end setmetatable(t, t) return t[1]",
            "overflow",
        ),
        ("return string.format('%99999d', 1)", "invalid"),
        ("return (('a'):rep(100000)):find(('a?'):rep(100000))", "pattern too complex"),
        ("return (('a'):rep(100000)):match(('(a)'):rep(100000))", "pattern too complex"),
        ("return loadstring(string.dump(function() end))()", "attempt to call a nil value"),
        ("local t = {} for i = 1, 10000 do t[i] = i end return unpack(t)", "too many results to unpack"),
        (
            "local t = {} for i = 1, 300 do t = {t} end return cmsgpack.pack(cmsgpack.unpack(('\\145'):rep(5000)))",
            "overflow",
        ),
        (
            "return loadstring('return ' .. ('('):rep(10000) .. '1' .. (')'):rep(10000))()",
            "attempt to call a nil value",
        ),
        (
            "local f = function() end for i = 1, 10000 do f = coroutine.wrap(f) f() end return f()",
            "Lua function expected",
        ),
    ] {
        let args: [&[u8]; 3] = [b"EVAL", script.as_bytes(), b"0"];
        let reply = world.run_args(1, &args).1;
        if !(reply.starts_with("-ERR") && reply.contains(error)) {
            wrong.push(format!("{script}: {reply}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let deep: [&[u8]; 3] = [b"EVAL", b"local t = {} for i = 1, 20000 do t = {t} end return t", b"0"];
    assert!(world.run_args(1, &deep).1.ends_with("-ERR reached lua stack limit"));
    check(&mut world, "return #string.rep('x', 1000000)", ":1000000");
}

#[test]
fn json_may_nest_as_deep_as_redis_allows() {
    let mut world = World::new();
    check(&mut world, "return #cjson.decode(('['):rep(1000) .. (']'):rep(1000))", ":1");
    check(&mut world, "return cjson.encode(cjson.decode(('['):rep(200) .. (']'):rep(200))):len()", ":400");
    for script in ["cjson.decode(('['):rep(1001))", "local t = {} t[1] = t cjson.encode(t)"] {
        let args: [&[u8]; 3] = [b"EVAL", script.as_bytes(), b"0"];
        assert!(world.run_args(1, &args).1.starts_with("-ERR user_script:1: "), "{script}");
    }
}

#[test]
fn scripts_beyond_what_a_thread_keeps_compiled_are_compiled_again() {
    let mut world = World::new();
    let loaded = world.run_args(1, &[b"SCRIPT", b"LOAD", b"return 'first'"]).1;
    let sha = loaded.rsplit(' ').next().expect("a digest").to_owned();
    for n in 0..1100 {
        check(&mut world, &format!("return {n}"), &format!(":{n}"));
    }
    assert_eq!(world.run(1, &format!("EVALSHA {sha} 0")), "$5 first");
    assert_eq!(world.run(1, &format!("SCRIPT EXISTS {sha}")), "*1 :1");
}

#[test]
fn an_engine_on_another_thread_knows_its_scripts_and_what_they_left_behind() {
    let script: [&[u8]; 3] = [
        b"EVAL",
        b"cjson.encode_number_precision(3) return {math.random(1000000), cjson.encode(1.23456)}",
        b"0",
    ];
    let next: [&[u8]; 3] = [b"EVAL", b"return {math.random(1000000), cjson.encode(1.23456)}", b"0"];
    let (mut moved, mut stayed) = (World::new(), World::new());
    let first = moved.run_args(1, &script).1;
    assert_eq!(stayed.run_args(1, &script).1, first, "another engine on this thread begins anew");
    let expected = stayed.run_args(1, &next).1;
    assert!(expected.contains("1.23") && !expected.contains("1.2345"), "{expected}");
    let elsewhere = std::thread::spawn(move || moved.run_args(1, &next).1);
    assert_eq!(elsewhere.join().expect("it does not panic"), expected);
}
