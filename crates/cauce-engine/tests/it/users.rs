//! Users, passwords and permissions.

use cauce_engine::{Outcome, SessionId, Settings};

use crate::support::World;

/// Session 2 is the user `u` with these rules.
fn as_user(rules: &str) -> World {
    let mut world = World::new();
    assert_eq!(world.run(1, &format!("ACL SETUSER u on nopass {rules}")), "+OK");
    assert_eq!(world.run(2, "AUTH u anything"), "+OK");
    world
}

fn line_of(world: &mut World, user: &str) -> String {
    let reply = world.run(1, "ACL LIST");
    let at = reply.find(&format!("user {user} ")).expect("the user is listed");
    reply[at..].split(" $").next().unwrap_or_default().to_owned()
}

#[test]
fn the_default_user_may_do_everything() {
    World::new().check(&[
        ("ACL WHOAMI", "$7 default"),
        ("ACL USERS", "*1 $7 default"),
        ("ACL LIST", "*1 $51 user default on nopass sanitize-payload ~* &* +@all"),
        ("ACL GETUSER default", "*12 $5 flags *3 $2 on $6 nopass $16 sanitize-payload $9 passwords *0 $8 commands $5 +@all $4 keys $2 ~* $8 channels $2 &* $9 selectors *0"),
        ("ACL GETUSER nobody", "$-1"),
        ("ACL DELUSER default", "-ERR The 'default' user cannot be removed"),
        ("ACL DELUSER nobody", ":0"),
        ("ACL FOO", "-ERR unknown subcommand 'FOO'. Try ACL HELP."),
    ]);
}

#[test]
fn rules_are_shown_as_they_were_given_without_those_that_are_void() {
    let cases = [
        ("", "off sanitize-payload resetchannels -@all"),
        ("+get", "off sanitize-payload resetchannels -@all +get"),
        ("+@read -get +GET", "off sanitize-payload resetchannels -@all +@read +get"),
        ("+config -config|set", "off sanitize-payload resetchannels -@all +config -config|set"),
        ("-config|set +config", "off sanitize-payload resetchannels -@all +config"),
        ("+@all -@dangerous", "off sanitize-payload resetchannels +@all -@dangerous"),
        ("+@all -@all", "off sanitize-payload resetchannels -@all"),
        ("+get|x", "off sanitize-payload resetchannels -@all +get|x"),
        (
            "~a %R~b %W~c %RW~d %R~e %W~e &ch &ch2",
            "off sanitize-payload ~a %R~b %W~c ~d ~e resetchannels &ch &ch2 -@all",
        ),
        ("~a allkeys", "off sanitize-payload ~* resetchannels -@all"),
        ("&a allchannels", "off sanitize-payload &* -@all"),
        ("on nopass skip-sanitize-payload", "on nopass skip-sanitize-payload resetchannels -@all"),
        (">pw >pw nopass", "off nopass sanitize-payload resetchannels -@all"),
        (
            ">pw",
            "off sanitize-payload #30c952fab122c3f9759f02a6d95c3758b246b4fee239957b2d4fee46e26170c4 resetchannels -@all",
        ),
        (">pw <pw", "off sanitize-payload resetchannels -@all"),
        (
            "(+set ~x) (~y)",
            "off sanitize-payload resetchannels -@all (~x resetchannels -@all +set) (~y resetchannels -@all)",
        ),
        ("(+set ~x) clearselectors", "off sanitize-payload resetchannels -@all"),
        ("on ~a &b +get reset", "off sanitize-payload resetchannels -@all"),
    ];
    for (rules, shown) in cases {
        let mut world = World::new();
        let command = format!("ACL SETUSER u {rules}");
        assert_eq!(world.run(1, command.trim_end()), "+OK", "{rules}");
        assert_eq!(line_of(&mut world, "u"), format!("user u {shown}"), "{rules}");
    }
}

#[test]
fn bad_rules_change_nothing() {
    let mut world = World::new();
    for (rule, why) in [
        ("b", "Syntax error"),
        ("+nope", "Unknown command or category name in ACL"),
        ("+@nope", "Unknown command or category name in ACL"),
        ("+config|nope", "Unknown command or category name in ACL"),
        ("-get|x", "Unknown command or category name in ACL"),
        ("+get|x|y", "Unknown command or category name in ACL"),
        ("+config|get|x", "Allowing first-arg of a subcommand is not supported"),
        (
            "#zz",
            "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters",
        ),
        ("<none", "The password you are trying to remove from the user does not exist"),
        ("%X~a", "Syntax error"),
        ("(on)", "Syntax error"),
        (")", "Syntax error"),
    ] {
        let expected = format!("-ERR Error in ACL SETUSER modifier '{rule}': {why}");
        assert_eq!(world.run(1, &format!("ACL SETUSER u on {rule}")), expected);
    }
    world.check(&[
        ("ACL SETUSER u allkeys ~x", "-ERR Error in ACL SETUSER modifier '~x': Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try 'resetkeys' to start with an empty list of patterns"),
        ("ACL SETUSER u (+get ~x", "-ERR Unmatched parenthesis in acl selector starting at '(+get ~x'."),
        ("ACL GETUSER u", "$-1"),
        ("ACL SAVE", "-ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users in the Redis configuration."),
    ]);
}

#[test]
fn passwords_let_in_who_is_on() {
    let mut world = World::new();
    world.check(&[
        ("ACL SETUSER u >one >two +@all ~*", "+OK"),
        ("2> AUTH u one", "-WRONGPASS invalid username-password pair or user is disabled."),
        ("ACL SETUSER u on", "+OK"),
        ("2> AUTH u three", "-WRONGPASS invalid username-password pair or user is disabled."),
        ("2> AUTH u two", "+OK"),
        ("2> ACL WHOAMI", "$1 u"),
        ("2> AUTH nobody x", "-WRONGPASS invalid username-password pair or user is disabled."),
        ("2> RESET", "+RESET"),
        ("2> ACL WHOAMI", "$7 default"),
        ("3> HELLO 2 AUTH u bad", "-WRONGPASS invalid username-password pair or user is disabled."),
        ("CONFIG SET requirepass secret", "+OK"),
        ("PING", "+PONG"),
        ("4> RESET", "+RESET"),
        ("4> PING", "-NOAUTH Authentication required."),
        ("4> AUTH secret", "+OK"),
        ("ACL SETUSER default nopass", "+OK"),
        ("4> AUTH secret", "-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?"),
    ]);
    let users = world.engine.users();
    assert!(
        users.authenticate(b"u", b"one")
            && !users.authenticate(b"u", b"")
            && !users.authenticate(b"v", b"one")
    );
}

#[test]
fn commands_keys_and_channels_are_permitted_apart() {
    let mut world = as_user("+@all -@dangerous -get ~own:* %R~read:* %W~write:* &news.*");
    world.check(&[
        ("2> GET own:1", "-NOPERM User u has no permissions to run the 'get' command"),
        ("2> CONFIG GET save", "-NOPERM User u has no permissions to run the 'config|get' command"),
        ("2> SET own:1 v", "+OK"),
        ("2> MGET own:1 other", "-NOPERM No permissions to access a key"),
        ("2> MGET own:1 read:1", "*2 $1 v $-1"),
        ("2> SET read:1 v", "-NOPERM No permissions to access a key"),
        ("2> SET write:1 v", "+OK"),
        ("2> SET write:1 v GET", "-NOPERM No permissions to access a key"),
        ("2> INCR write:1", "-NOPERM No permissions to access a key"),
        ("2> EXISTS write:1", ":1"),
        ("2> EXISTS other", "-NOPERM No permissions to access a key"),
        ("2> XREAD STREAMS own:s write:s 0 0", "-NOPERM No permissions to access a key"),
        ("2> PUBLISH news.a x", ":0"),
        ("2> PUBLISH other x", "-NOPERM No permissions to access a channel"),
        ("2> PSUBSCRIBE news.a*", "-NOPERM No permissions to access a channel"),
        ("2> PSUBSCRIBE news.*", "*3 $10 psubscribe $6 news.* :1"),
        ("2> PUNSUBSCRIBE other", "*3 $12 punsubscribe $5 other :1"),
        ("2> SUBSCRIBE news.a other", "-NOPERM No permissions to access a channel"),
        ("2> RESET", "+RESET"),
    ]);
}

#[test]
fn one_selector_must_permit_all_of_a_command() {
    let mut world = as_user("+get ~a (+set ~b) +select|0");
    world.check(&[
        ("2> GET a", "$-1"),
        ("2> SET b v", "+OK"),
        ("2> SET a v", "-NOPERM No permissions to access a key"),
        ("2> GET b", "-NOPERM No permissions to access a key"),
        ("2> DEL a", "-NOPERM User u has no permissions to run the 'del' command"),
        ("2> SELECT 0", "+OK"),
        ("2> SELECT 1", "-NOPERM User u has no permissions to run the 'select' command"),
        ("ACL DRYRUN u set b v", "+OK"),
        ("ACL DRYRUN u set c v", "$47 User u has no permissions to access the 'c' key"),
        ("ACL DRYRUN u del c", "$50 User u has no permissions to run the 'del' command"),
        ("ACL DRYRUN v get c", "-ERR User 'v' not found"),
        ("ACL DRYRUN u nope", "-ERR Command 'nope' not found"),
        ("ACL DRYRUN u get", "-ERR wrong number of arguments for 'get' command"),
    ]);
}

#[test]
fn permissions_are_checked_when_queued_and_when_run() {
    let mut world = as_user("+@all ~*");
    world.check(&[
        ("2> MULTI", "+OK"),
        ("2> SET a 1", "+QUEUED"),
        ("2> GET a", "+QUEUED"),
        ("2> PING", "+QUEUED"),
        ("ACL SETUSER u -set resetkeys", "+OK"),
        ("2> EXEC", "*3 -NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no longer allowed for the following reason: no permission to execute the command or subcommand -NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no longer allowed for the following reason: no permission to touch the specified keys +PONG"),
        ("2> MULTI", "+OK"),
        ("2> SET a 1", "-NOPERM User u has no permissions to run the 'set' command"),
        ("2> EXEC", "-EXECABORT Transaction discarded because of previous errors."),
    ]);
}

#[test]
fn who_waits_is_asked_again() {
    let mut world = as_user("+@all ~*");
    world.run(1, "XGROUP CREATE s g $ MKSTREAM");
    assert_eq!(world.run(2, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >"), "");
    world.run(1, "ACL SETUSER u -xreadgroup");
    world.run(1, "XADD s 1-1 f v");
    assert_eq!(world.delivered(), ["2!-NOPERM User u has no permissions to run the 'xreadgroup' command"]);
}

#[test]
fn changes_close_the_connections_that_they_concern() {
    let mut world = as_user("+@all ~* &*");
    world.check(&[
        ("3> AUTH u x", "+OK"),
        ("2> SUBSCRIBE a", "*3 $9 subscribe $1 a :1"),
        ("ACL SETUSER u resetchannels &a", "+OK"),
        ("ACL SETUSER u resetchannels &b", "+OK"),
    ]);
    assert_eq!(world.delivered(), ["2x"]);
    assert_eq!(world.run(1, "ACL DELUSER u nobody"), ":1");
    assert_eq!(world.delivered(), ["2x", "3x"]);
    world.run(1, "ACL SETUSER w on nopass +@all");
    world.run(4, "AUTH w x");
    let (outcome, reply) = world.run_args(4, &[b"ACL", b"DELUSER", b"w"]);
    assert_eq!((outcome, &reply[..]), (Outcome::Close, ":1"));
    assert!(world.engine.is_authenticated(SessionId::new(1)));
}

#[test]
fn denials_are_logged_and_counted() {
    let mut world = as_user("+get ~a");
    world.run(2, "SET a 1");
    world.run(2, "SET a 2");
    world.advance_ms(1500);
    world.run(2, "GET b");
    world.run(2, "AUTH u2 x");
    let log = world.run(1, "ACL LOG");
    assert!(log.starts_with("*3 *20 $5 count :1 $6 reason $4 auth $7 context $8 toplevel $6 object $4 AUTH $8 username $2 u2 $11 age-seconds $1 0 $11 client-info"), "{log}");
    assert!(log.contains("$6 reason $3 key $7 context $8 toplevel $6 object $1 b $8 username $1 u"), "{log}");
    assert!(log.contains("$5 count :2 $6 reason $7 command $7 context $8 toplevel $6 object $3 set $8 username $1 u $11 age-seconds $3 1.5"), "{log}");
    assert!(
        log.contains(
            "$8 entry-id :0 $17 timestamp-created :1700000000000 $22 timestamp-last-updated :1700000000000"
        ),
        "{log}"
    );
    assert!(world.run(1, "ACL LOG 1").starts_with("*1 *20"));
    world.check(&[
        ("CONFIG SET acllog-max-len 1", "+OK"),
        ("2> GET c", "-NOPERM No permissions to access a key"),
    ]);
    assert!(world.run(1, "ACL LOG").starts_with("*1 *20"));
    world.check(&[
        ("ACL LOG RESET", "+OK"),
        ("ACL LOG", "*0"),
        ("ACL LOG x", "-ERR value is not an integer or out of range"),
    ]);
}

#[test]
fn generated_passwords_differ_and_depend_on_the_secret() {
    let passwords = |secret: u8| {
        let mut settings = Settings::default();
        settings.secret = [secret; 32];
        let mut world = World::with(settings);
        [world.run(1, "ACL GENPASS"), world.run(1, "ACL GENPASS")]
    };
    let ([a, b], [c, _]) = (passwords(1), passwords(2));
    assert!(a.len() == "$64 ".len() + 64 && a != b && a != c, "{a} {b} {c}");
    let mut world = World::new();
    assert_eq!(world.run(1, "ACL GENPASS 5").len(), "$2 xx".len());
    for bits in ["0", "4097"] {
        let refused = "-ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096";
        assert_eq!(world.run(1, &format!("ACL GENPASS {bits}")), refused);
    }
}

#[test]
fn scripts_do_what_their_user_may() {
    let mut world = as_user("+eval +get ~a");
    let script: &[u8] = b"return redis.call('set', KEYS[1], 1)";
    let (_, reply) = world.run_args(2, &[b"EVAL", script, b"1", b"a"]);
    assert!(
        reply.starts_with("-ERR ACL failure in script: User u has no permissions to run the 'set' command"),
        "{reply}"
    );
    let (_, reply) = world.run_args(2, &[b"EVAL", b"return redis.acl_check_cmd('get', 'a')", b"0"]);
    assert_eq!(reply, ":1");
    assert!(world.run(1, "ACL LOG").contains("$7 context $3 lua"));
}

#[test]
fn a_group_named_streams_hides_no_key() {
    let mut world = as_user("+xreadgroup +xread ~own ~STREAMS");
    world.run(1, "XGROUP CREATE secret streams $ MKSTREAM");
    world.check(&[
        ("2> XREADGROUP GROUP streams own STREAMS secret >", "-NOPERM No permissions to access a key"),
        ("2> XREADGROUP GROUP g streams CLAIM 1 COUNT 2 NOACK BLOCK 1 MAXCOUNT 3 MAXSIZE 4 streams secret >", "-NOPERM No permissions to access a key"),
        ("2> XREAD STREAMS STREAMS 0", "*-1"),
    ]);
}
