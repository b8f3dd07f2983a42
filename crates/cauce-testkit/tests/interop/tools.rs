//! Redis's own tools: redis-cli in each way that scripts use it, and redis-benchmark.

use std::process::Command;

use crate::both::{Seen, same_on_both, same_on_both_protected};
use crate::process::Process;
use crate::server::{PASSWORD, Server};

#[test]
#[ignore = "needs redis-cli; ./test installs it"]
fn redis_cli_commands() {
    for options in
        [&[][..], &["-3"], &["--no-raw"], &["-3", "--json"], &["-n", "4"], &["-r", "2"], &["--csv"]]
    {
        same_on_both(|server| {
            let cli = |command: &[&str]| redis_cli(server, &[options, command].concat(), None);
            let mut seen = Seen::new();
            seen.extend(cli(&["XADD", "s", "1-1", "action", "created"]));
            seen.extend(cli(&["XADD", "s", "1-1", "action", "created"]));
            seen.extend(cli(&["XRANGE", "s", "-", "+"]));
            seen.extend(cli(&["XGROUP", "CREATE", "s", "g", "0"]));
            seen.extend(cli(&["XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">"]));
            seen.extend(cli(&["XREADGROUP", "GROUP", "g", "c", "BLOCK", "10", "STREAMS", "s", ">"]));
            seen.extend(cli(&["XPENDING", "s", "g"]));
            seen.extend(cli(&["XINFO", "GROUPS", "s"]));
            seen.extend(cli(&["SET", "k", "a \"quoted\" value\n"]));
            seen.extend(cli(&["GET", "k"]));
            seen.extend(cli(&["GET", "none"]));
            seen.extend(cli(&["PUBSUB", "NUMSUB", "a"]));
            seen.extend(cli(&["CONFIG", "GET", "maxmemory-policy"]));
            seen.extend(cli(&["NOSUCH", "command"]));
            seen
        });
    }
}

/// Commands on standard input: what `redis-cli < file` sends, one after another on one connection.
#[test]
#[ignore = "needs redis-cli; ./test installs it"]
fn redis_cli_from_standard_input() {
    let commands = "PING\nSELECT 2\nSET k v\nMULTI\nXADD s 1-1 f v\nXLEN s\nEXEC\nMULTI\nNOSUCH\nEXEC\nHELLO 3\nGET k\nRESET\nGET k\n\
                    CLIENT SETNAME desk\nCLIENT GETNAME\nWATCH k\nUNWATCH\nDISCARD\nSUBSCRIBE\n";
    same_on_both(|server| {
        let mut seen = redis_cli(server, &[], Some(commands));
        // Id and version in the answer to HELLO are each server's own.
        seen.retain(|line| !line.starts_with("id ") && !line.starts_with("version "));
        seen
    });
}

#[test]
#[ignore = "needs redis-cli; ./test installs it"]
fn redis_cli_password_and_unix_socket() {
    same_on_both_protected(|server| {
        let socket = server.socket();
        let mut seen = Seen::new();
        for way_in in [
            &[][..],
            &["-a", PASSWORD],
            &["-3", "-a", PASSWORD],
            &["--user", "default", "--pass", PASSWORD],
            &["-a", "wrong"],
            &["--user", "nobody", "--pass", PASSWORD],
            &["-s", &socket],
            &["-s", &socket, "-a", PASSWORD],
        ] {
            seen.extend(
                run_redis_cli(server, &[&["--no-auth-warning"], way_in, &["ECHO", "inside"]].concat(), None)
                    .0,
            );
        }
        seen.extend(redis_cli(
            server,
            &["--no-auth-warning"],
            Some("PING\nAUTH wrong\nAUTH default hush\nPING\n"),
        ));
        seen
    });
}

/// `--pipe` sends raw protocol and ends with an ECHO whose answer it waits for.
#[test]
#[ignore = "needs redis-cli; ./test installs it"]
fn redis_cli_pipe() {
    let mut commands = String::new();
    for n in 1..=2000 {
        commands += &format!(
            "*5\r\n$4\r\nXADD\r\n$1\r\ns\r\n$1\r\n*\r\n$1\r\nn\r\n${}\r\n{n}\r\n",
            n.to_string().len()
        );
    }
    commands += "*2\r\n$4\r\nXLEN\r\n$1\r\nk\r\nXLEN s\r\nNOSUCH\r\n";
    let seen = same_on_both(|server| {
        let mut seen = redis_cli_any_exit(server, &["--pipe"], Some(&commands));
        seen.extend(redis_cli(server, &["XLEN", "s"], None));
        seen
    });
    assert!(seen.iter().any(|line| line == "errors: 1, replies: 2003"), "{seen:#?}");
}

/// Commands as a person types them into a plain connection, without the protocol's framing.
#[test]
#[ignore = "needs redis-server; ./test installs it"]
fn inline_commands() {
    use std::io::{Read, Write};
    let typed = "PING\r\n\r\nset k \"two words\"\r\nGET k\r\n  xadd  s 1-1 f 'single quoted'\r\nXRANGE s - +\nNOSUCH a b\r\nGET \"open\r\n";
    same_on_both(|server| {
        let mut connection =
            std::net::TcpStream::connect(("127.0.0.1", server.port())).expect("the server listens");
        connection.write_all(typed.as_bytes()).expect("the connection is open");
        let mut answer = String::new();
        // Unbalanced quotes are a protocol error: the server answers and closes.
        connection.read_to_string(&mut answer).expect("text until the server closes");
        answer.lines().map(String::from).collect()
    });
}

/// On a terminal, redis-cli asks for COMMAND DOCS first and explains commands from the answer.
#[test]
#[ignore = "needs redis-cli and the Python environment; ./test installs them"]
fn redis_cli_on_a_terminal() {
    same_on_both(|server| {
        let port = server.port().to_string();
        let mut shell = Process::python("terminal.py", &["redis-cli", "-p", &port]);
        for typed in [
            "help xadd",
            "help xgroup create",
            "xadd s 1-1 f v",
            "multi",
            "xlen s",
            "exec",
            "hello 3 setname desk",
            "quit",
        ] {
            shell.tell(typed);
        }
        let mut seen = shell.finish();
        // Summaries are each server's own words; so are the version and the id in the answer to HELLO.
        seen.retain(|line| ["since:", "group:", "> ", ") "].iter().any(|part| line.contains(part)));
        seen.retain(|line| !["version", "id"].iter().any(|key| line.contains(&format!("\"{key}\""))));
        seen.iter().map(|line| line.replace(&port, "PORT")).collect()
    });
}

/// The same, asked directly.
#[test]
#[ignore = "needs redis-cli; ./test installs it"]
fn redis_cli_introspection() {
    same_on_both(|server| {
        let mut seen = Seen::new();
        for command in ["xadd", "xreadgroup", "subscribe", "get", "exec"] {
            let docs = redis_cli(server, &["-3", "--json", "COMMAND", "DOCS", command], None).concat();
            let described = ["summary", "since", "group"].map(|key| docs.contains(&format!("\"{key}\":\"")));
            seen.push(format!("{command} {described:?}"));
            seen.push(redis_cli(server, &["COMMAND", "INFO", command], None)[..2].join(" "));
        }
        seen.extend(redis_cli(server, &["COMMAND", "INFO", "nosuch"], None));
        seen.extend(redis_cli(
            server,
            &["COMMAND", "GETKEYS", "XREADGROUP", "GROUP", "g", "c", "STREAMS", "a", "b", ">", ">"],
            None,
        ));
        let count: usize = redis_cli(server, &["COMMAND", "COUNT"], None)[0].parse().expect("a number");
        seen.push(format!("more than 60 commands: {}", count > 60));
        let info = redis_cli(server, &["INFO"], None);
        for line in [
            "# Server",
            "redis_mode:standalone",
            "# Clients",
            "# Memory",
            "loading:0",
            "# Stats",
            "role:master",
            "# Keyspace",
        ] {
            seen.push(format!("{line} {}", info.iter().any(|each| each == line)));
        }
        seen
    });
}

/// `redis-cli` as a subscriber: prints what is published, each item of a frame on its line.
#[test]
#[ignore = "needs redis-cli; ./test installs it"]
fn redis_cli_subscribes() {
    for options in [&[][..], &["-3"]] {
        same_on_both(|server| {
            let port = server.port().to_string();
            let mut subscriber =
                Process::start("redis-cli", &[options, &["-p", &port, "PSUBSCRIBE", "n*", "x"]].concat());
            let mut seen: Seen = (0..6).filter_map(|_| subscriber.line()).collect();
            seen.extend(redis_cli(server, &["PUBLISH", "news", "one"], None));
            seen.extend((0..4).filter_map(|_| subscriber.line()));
            seen
        });
    }
}

#[test]
#[ignore = "needs redis-benchmark; ./test installs it"]
fn redis_benchmark() {
    for run in [
        &["-t", "ping,set,get,incr,sadd,hset,zadd,mset", "-n", "2000", "-c", "10", "-r", "100"][..],
        &["-t", "set,get,incr,sadd,hset,zadd,mset", "-n", "2000", "-P", "16", "-3"],
        &["-n", "500", "-P", "16", "EVAL", "return redis.call('INCR', KEYS[1])", "1", "counted"],
        &["-n", "2000", "-c", "10", "XADD", "mystream", "*", "myfield", "data"],
        &[
            "-n",
            "2000",
            "-P",
            "16",
            "-r",
            "1000",
            "XADD",
            "mystream",
            "MAXLEN",
            "~",
            "100",
            "*",
            "f",
            "__rand_int__",
        ],
        &["-n", "500", "-c", "5", "PUBLISH", "news", "data"],
    ] {
        same_on_both(|server| {
            let port = server.port().to_string();
            let lines = Process::start("redis-benchmark", &[&["-p", &port, "--csv"], run].concat()).finish();
            let complaints =
                lines.iter().filter(|line| line.to_lowercase().contains("error") || line.contains("WARN"));
            let mut seen: Seen = complaints.cloned().collect();
            // `"XADD ...","20000.00",...`: the names of what was measured; the figures differ.
            seen.extend(lines.iter().filter_map(|line| line.split("\",\"").next()).map(String::from));
            seen.extend(redis_cli(server, &["DBSIZE"], None));
            seen
        });
    }
}

/// Runs redis-cli to its end, which must be a success, and returns its lines.
fn redis_cli(server: &Server, arguments: &[&str], input: Option<&str>) -> Seen {
    let (seen, success) = run_redis_cli(server, arguments, input);
    assert!(success, "redis-cli {arguments:?} failed: {seen:#?}");
    seen
}

/// `--pipe` ends with failure when one command was answered with an error.
fn redis_cli_any_exit(server: &Server, arguments: &[&str], input: Option<&str>) -> Seen {
    run_redis_cli(server, arguments, input).0
}

fn run_redis_cli(server: &Server, arguments: &[&str], input: Option<&str>) -> (Seen, bool) {
    let mut file = tempfile::tempfile().expect("a temporary file");
    if let Some(input) = input {
        use std::io::{Seek, Write};
        file.write_all(input.as_bytes()).expect("written");
        file.rewind().expect("a file");
    }
    let output = Command::new("redis-cli")
        .args(["-p", &server.port().to_string()])
        .args(arguments)
        .stdin(file)
        .output()
        .expect("redis-cli is installed; run ./test once");
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8_lossy(&text).lines().map(String::from).collect(), output.status.success())
}
