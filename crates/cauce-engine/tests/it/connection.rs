use cauce_engine::{Outcome, SessionId, Settings, Timestamp};

use crate::support::{START_MS, World};

fn with_password() -> World {
    let mut settings = Settings::default();
    settings.requirepass = "secret".to_owned();
    World::with(settings)
}

#[test]
fn a_stranger_can_only_authenticate() {
    with_password().check(&[
        ("PING", "-NOAUTH Authentication required."),
        ("NOPE", "-ERR unknown command 'NOPE', with args beginning with: "),
        ("GET", "-ERR wrong number of arguments for 'get' command"),
        ("AUTH wrong", "-WRONGPASS invalid username-password pair or user is disabled."),
        ("AUTH someone secret", "-WRONGPASS invalid username-password pair or user is disabled."),
        ("HELLO 3", "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time"),
        ("AUTH secret", "+OK"),
        ("PING", "+PONG"),
        ("2> HELLO 2 AUTH default secret SETNAME me", "*14 $6 server $5 redis $7 version $5 7.2.4 $5 proto :2 $2 id :2 $4 mode $10 standalone $4 role $6 master $7 modules *0"),
        ("2> CLIENT GETNAME", "$2 me"),
        ("2> RESET", "+RESET"),
        ("2> PING", "-NOAUTH Authentication required."),
    ]);
}

#[test]
fn the_protocol_is_negotiated() {
    World::new().check(&[
        ("HELLO 4", "-NOPROTO unsupported protocol version"),
        ("HELLO x", "-ERR Protocol version is not an integer or out of range"),
        ("HELLO 3 FOO", "-ERR Syntax error in HELLO option 'FOO'"),
        ("HELLO 3", "%7 $6 server $5 redis $7 version $5 7.2.4 $5 proto :3 $2 id :1 $4 mode $10 standalone $4 role $6 master $7 modules *0"),
        ("GET nothing", "_"),
        ("HELLO 2", "*14 $6 server $5 redis $7 version $5 7.2.4 $5 proto :2 $2 id :1 $4 mode $10 standalone $4 role $6 master $7 modules *0"),
        ("GET nothing", "$-1"),
        ("AUTH anything", "-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?"),
    ]);
}

#[test]
fn who_asks_for_the_time_later_is_told_a_later_one() {
    let mut world = World::new();
    world.check(&[
        ("TIME", "*2 $10 1700000000 $1 0"),
        ("TIME", "*2 $10 1700000000 $1 1"),
        ("2> TIME", "*2 $10 1700000000 $1 2"),
        ("MULTI", "+OK"),
        ("TIME", "+QUEUED"),
        ("TIME", "+QUEUED"),
        ("EXEC", "*2 *2 $10 1700000000 $1 3 *2 $10 1700000000 $1 4"),
    ]);
    world.advance_ms(1);
    world.check(&[("TIME", "*2 $10 1700000000 $4 1000")]);
    // A clock that is set back is followed.
    world.now = Timestamp::from_millis(START_MS - 2_000);
    world.check(&[("TIME", "*2 $10 1699999998 $1 0")]);
}

#[test]
fn databases_are_separate() {
    World::new().check(&[
        ("SET k zero", "+OK"),
        ("SELECT 1", "+OK"),
        ("GET k", "$-1"),
        ("SELECT 16", "-ERR DB index is out of range"),
        ("SELECT x", "-ERR value is not an integer or out of range"),
        ("SELECT 0", "+OK"),
        ("GET k", "$4 zero"),
    ]);
}

#[test]
fn clients_have_names_and_are_listed() {
    let mut world = World::new();
    world.check(&[
        ("CLIENT ID", ":1"),
        ("CLIENT GETNAME", "$-1"),
        ("CLIENT SETNAME worker", "+OK"),
        ("CLIENT SETINFO LIB-NAME lib", "+OK"),
        ("CLIENT SETINFO NOPE x", "-ERR Unrecognized option 'NOPE'"),
        ("CLIENT NOPE", "-ERR unknown subcommand 'NOPE'. Try CLIENT HELP."),
        ("CLIENT", "-ERR wrong number of arguments for 'client' command"),
        ("CLIENT LIST TYPE nope", "-ERR Unknown client type 'nope'"),
        ("CLIENT LIST ID x", "-ERR Invalid client ID"),
    ]);
    let spaced = world.run_args(1, &[b"CLIENT", b"SETNAME", b"a b"]).1;
    assert_eq!(spaced, "-ERR Client names cannot contain spaces, newlines or special characters.");
    let line = world.run(1, "CLIENT LIST ID 1");
    assert!(line.contains("id=1 addr=127.0.0.1:1001 "), "{line}");
    assert!(line.contains(" name=worker ") && line.contains(" lib-name=lib "), "{line}");
}

#[test]
fn clients_are_killed_by_filter() {
    let mut world = World::new();
    world.check(&[("CLIENT KILL ID 3", ":1")]);
    assert_eq!(world.delivered(), ["3x"]);
    world.check(&[
        ("CLIENT KILL 127.0.0.1:1", "-ERR No such client"),
        ("CLIENT KILL ID 0", "-ERR client-id should be greater than 0"),
        ("CLIENT KILL NOPE x", "-ERR syntax error"),
        ("CLIENT KILL TYPE normal", ":3"),
    ]);
    let (outcome, reply) = world.run_args(1, &[b"CLIENT", b"KILL", b"ID", b"1", b"SKIPME", b"no"]);
    assert_eq!((outcome, reply.as_str()), (Outcome::Close, ":1"));
    world.engine.close_session(SessionId::new(3));
    world.check(&[("CLIENT KILL ID 3", ":0")]);
}

#[test]
fn replies_can_be_switched_off() {
    World::new().check(&[
        ("CLIENT REPLY SKIP", ""),
        ("PING", ""),
        ("PING", "+PONG"),
        ("CLIENT REPLY OFF", ""),
        ("PING", ""),
        ("CLIENT REPLY ON", "+OK"),
        ("PING", "+PONG"),
    ]);
}

#[test]
fn quitting_closes_after_the_reply() {
    let mut world = World::new();
    assert_eq!(world.run_args(1, &[b"QUIT"]), (Outcome::Close, "+OK".to_owned()));
}
