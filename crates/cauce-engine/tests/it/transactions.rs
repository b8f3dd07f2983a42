use cauce_engine::{SessionId, Settings};

use crate::support::World;

#[test]
fn queued_commands_run_together() {
    World::new().check(&[
        ("MULTI", "+OK"),
        ("SET k v", "+QUEUED"),
        ("GET k", "+QUEUED"),
        ("INCR k", "+QUEUED"),
        ("2> GET k", "$-1"),
        ("EXEC", "*3 +OK $1 v -ERR value is not an integer or out of range"),
        ("EXEC", "-ERR EXEC without MULTI"),
        ("DISCARD", "-ERR DISCARD without MULTI"),
    ]);
}

#[test]
fn a_command_that_cannot_be_queued_aborts_all() {
    World::new().check(&[
        ("MULTI", "+OK"),
        ("SET k v", "+QUEUED"),
        ("NOPE", "-ERR unknown command 'NOPE', with args beginning with: "),
        ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
        ("GET k", "$-1"),
        ("MULTI", "+OK"),
        ("GET", "-ERR wrong number of arguments for 'get' command"),
        ("DISCARD", "+OK"),
        ("MULTI", "+OK"),
        ("MULTI", "-ERR MULTI calls can not be nested"),
        ("WATCH k", "-ERR WATCH inside MULTI is not allowed"),
        ("EXEC", "*0"),
    ]);
}

#[test]
fn a_watched_key_that_changed_breaks_the_transaction() {
    for change in ["SET k w", "DEL k", "FLUSHALL", "RENAME k l", "EXPIRE k 100", "SELECT 0"] {
        let mut world = World::new();
        world.check(&[("SET k v", "+OK"), ("WATCH k k", "+OK")]);
        world.run(2, change);
        let expected = if change == "SELECT 0" { "*1 +PONG" } else { "*-1" };
        world.check(&[("MULTI", "+OK"), ("PING", "+QUEUED"), ("EXEC", expected)]);
    }
}

#[test]
fn a_watched_key_that_expires_breaks_the_transaction() {
    let mut world = World::new();
    world.check(&[("SET k v PX 10", "+OK"), ("WATCH k", "+OK"), ("MULTI", "+OK"), ("PING", "+QUEUED")]);
    world.advance_ms(10);
    world.check(&[("EXEC", "*-1")]);
}

#[test]
fn watches_end_with_the_transaction_unwatch_or_the_connection() {
    let mut world = World::new();
    world.check(&[
        ("WATCH k", "+OK"),
        ("UNWATCH", "+OK"),
        ("2> SET k v", "+OK"),
        ("MULTI", "+OK"),
        ("EXEC", "*0"),
        ("WATCH k", "+OK"),
        ("MULTI", "+OK"),
        ("DISCARD", "+OK"),
        ("2> SET k w", "+OK"),
        ("MULTI", "+OK"),
        ("EXEC", "*0"),
        ("WATCH k", "+OK"),
    ]);
    world.engine.close_session(SessionId::new(1));
    world.check(&[("2> SET k x", "+OK")]);
}

#[test]
fn a_transaction_has_a_limit() {
    let mut settings = Settings::default();
    settings.transaction_commands_max = 2;
    let mut world = World::with(settings);
    world.check(&[("MULTI", "+OK"), ("PING", "+QUEUED"), ("PING", "+QUEUED")]);
    assert!(world.run(1, "PING").starts_with("-ERR too many commands queued"));
    world.check(&[("EXEC", "-EXECABORT Transaction discarded because of previous errors.")]);
}

#[test]
fn the_database_selected_inside_stays_selected() {
    World::new().check(&[
        ("MULTI", "+OK"),
        ("SELECT 3", "+QUEUED"),
        ("SET k v", "+QUEUED"),
        ("EXEC", "*2 +OK +OK"),
        ("GET k", "$1 v"),
        ("SELECT 0", "+OK"),
        ("GET k", "$-1"),
    ]);
}
