use crate::support::World;

#[test]
fn a_message_reaches_channels_and_patterns() {
    let mut world = World::new();
    world.check(&[
        ("1> SUBSCRIBE news sport", "*3 $9 subscribe $4 news :1 *3 $9 subscribe $5 sport :2"),
        ("2> PSUBSCRIBE n*", "*3 $10 psubscribe $2 n* :1"),
        ("3> HELLO 3", "%7 $6 server $5 redis $7 version $5 7.2.4 $5 proto :3 $2 id :3 $4 mode $10 standalone $4 role $6 master $7 modules *0"),
        ("3> SUBSCRIBE news", ">3 $9 subscribe $4 news :1"),
        ("4> PUBLISH news hi", ":3"),
    ]);
    assert_eq!(
        world.delivered(),
        [
            "1:*3 $7 message $4 news $2 hi",
            "3:>3 $7 message $4 news $2 hi",
            "2:*4 $8 pmessage $2 n* $4 news $2 hi",
        ]
    );
    world.check(&[
        ("4> PUBLISH nowhere hi", ":1"),
        ("4> PUBLISH other hi", ":0"),
        ("4> PUBSUB CHANNELS", "*2 $4 news $5 sport"),
        ("4> PUBSUB CHANNELS s*", "*1 $5 sport"),
        ("4> PUBSUB NUMSUB news nope", "*4 $4 news :2 $4 nope :0"),
        ("4> PUBSUB NUMPAT", ":1"),
    ]);
}

#[test]
fn who_publishes_to_itself_gets_the_reply_first() {
    World::new().check(&[
        ("HELLO 3", "%7 $6 server $5 redis $7 version $5 7.2.4 $5 proto :3 $2 id :1 $4 mode $10 standalone $4 role $6 master $7 modules *0"),
        ("SUBSCRIBE c", ">3 $9 subscribe $1 c :1"),
        ("PUBLISH c hi", ":1 >3 $7 message $1 c $2 hi"),
        ("MULTI", "+OK"),
        ("PUBLISH c in", "+QUEUED"),
        ("PING", "+QUEUED"),
        ("EXEC", "*2 :1 +PONG >3 $7 message $1 c $2 in"),
    ]);
}

#[test]
fn a_resp2_subscriber_may_only_listen() {
    World::new().check(&[
        ("SUBSCRIBE c", "*3 $9 subscribe $1 c :1"),
        ("GET k", "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"),
        ("PING", "*2 $4 pong $0 "),
        ("PING hi", "*2 $4 pong $2 hi"),
        ("UNSUBSCRIBE", "*3 $11 unsubscribe $1 c :0"),
        ("PING", "+PONG"),
        ("UNSUBSCRIBE", "*3 $11 unsubscribe $-1 :0"),
        ("PUNSUBSCRIBE a b", "*3 $12 punsubscribe $1 a :0 *3 $12 punsubscribe $1 b :0"),
    ]);
}

#[test]
fn shard_channels_are_a_space_of_their_own() {
    let mut world = World::new();
    world.check(&[
        ("1> SSUBSCRIBE c", "*3 $10 ssubscribe $1 c :1"),
        ("2> SUBSCRIBE c", "*3 $9 subscribe $1 c :1"),
        ("3> SPUBLISH c hi", ":1"),
    ]);
    assert_eq!(world.delivered(), ["1:*3 $8 smessage $1 c $2 hi"]);
    world.check(&[
        ("3> PUBSUB SHARDCHANNELS", "*1 $1 c"),
        ("3> PUBSUB SHARDNUMSUB c", "*2 $1 c :1"),
        ("1> SUNSUBSCRIBE", "*3 $12 sunsubscribe $1 c :0"),
        ("3> MULTI", "+OK"),
        ("3> SSUBSCRIBE c", "+QUEUED"),
        ("3> EXEC", "*1 -ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client"),
    ]);
}

#[test]
fn who_leaves_is_forgotten() {
    let mut world = World::new();
    world.run(1, "SUBSCRIBE c");
    world.run(1, "PSUBSCRIBE *");
    world.engine.close_session(cauce_engine::SessionId::new(1));
    world.check(&[("2> PUBLISH c hi", ":0"), ("2> PUBSUB NUMPAT", ":0"), ("2> PUBSUB CHANNELS", "*0")]);
}

#[test]
fn changes_of_keys_are_published_when_asked_for() {
    let mut world = World::new();
    world.check(&[
        ("1> PSUBSCRIBE __key*", "*3 $10 psubscribe $6 __key* :1"),
        ("2> SET quiet v", "+OK"),
        ("2> CONFIG SET notify-keyspace-events KE$gx", "+OK"),
        ("2> CONFIG GET notify-keyspace-events", "*2 $22 notify-keyspace-events $5 g$xKE"),
        ("2> CONFIG SET notify-keyspace-events q", "-ERR CONFIG SET failed (possibly related to argument 'notify-keyspace-events') - Invalid event class character. Use 'Ag$lshzxeKEtmdn'."),
        ("2> SET k v PX 10", "+OK"),
    ]);
    assert_eq!(world.delivered().len(), 4, "set and expire, to keyspace and keyevent");
    world.advance_ms(10);
    world.tick();
    assert_eq!(
        world.delivered(),
        [
            "1:*4 $8 pmessage $6 __key* $16 __keyspace@0__:k $7 expired",
            "1:*4 $8 pmessage $6 __key* $22 __keyevent@0__:expired $1 k",
        ]
    );
}

/// What a client publishes to itself is sent after its reply; the reader that it wakes in the same moment was sent it instead.
#[test]
fn a_message_to_oneself_goes_to_nobody_else() {
    let mut world = World::new();
    world.run(1, "HELLO 3");
    world.check(&[
        ("1> SUBSCRIBE c", ">3 $9 subscribe $1 c :1"),
        ("1> CONFIG SET notify-keyspace-events Kt", "+OK"),
        ("1> SUBSCRIBE __keyspace@0__:s", ">3 $9 subscribe $16 __keyspace@0__:s :2"),
        ("2> XREAD BLOCK 0 STREAMS s $", ""),
        ("1> MULTI", "+OK"),
        ("1> PUBLISH c hi", "+QUEUED"),
        ("1> XADD s 1-1 f v", "+QUEUED"),
        ("1> EXEC", "*2 :1 $3 1-1 >3 $7 message $1 c $2 hi >3 $7 message $16 __keyspace@0__:s $4 xadd"),
    ]);
    assert_eq!(world.delivered(), ["2!*1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 v"]);
}

/// One that is woken for nothing makes its consumer again, and hears of it: at once, and nobody else does.
#[test]
fn who_waits_again_hears_what_it_did() {
    let mut world = World::new();
    world.run(2, "HELLO 3");
    world.check(&[
        ("2> CONFIG SET notify-keyspace-events Kt", "+OK"),
        ("1> XGROUP CREATE s g $ MKSTREAM", "+OK"),
        ("2> SUBSCRIBE __keyspace@0__:s", ">3 $9 subscribe $16 __keyspace@0__:s :1"),
        (
            "2> XREADGROUP GROUP g c BLOCK 0 STREAMS s >",
            ">3 $7 message $16 __keyspace@0__:s $21 xgroup-createconsumer",
        ),
        ("1> XGROUP DELCONSUMER s g c", ":0"),
    ]);
    world.delivered();
    world.check(&[("1> XADD s MAXLEN 0 1-1 f v", "$3 1-1")]);
    let event = |name: &str| format!("2:>3 $7 message $16 __keyspace@0__:s ${} {name}", name.len());
    assert_eq!(world.delivered(), ["xadd", "xtrim", "xgroup-createconsumer"].map(event));
}

#[test]
fn subscriptions_have_a_limit() {
    let mut settings = cauce_engine::Settings::default();
    settings.subscriptions_max = 2;
    let mut world = World::with(settings);
    world.check(&[("SUBSCRIBE a b", "*3 $9 subscribe $1 a :1 *3 $9 subscribe $1 b :2")]);
    assert!(world.run(1, "SUBSCRIBE c").starts_with("-ERR too many subscriptions"));
    assert!(world.run(1, "PSUBSCRIBE c").starts_with("-ERR too many subscriptions"));
}
