//! The crate `redis` (redis-rs): its blocking connection on RESP2, its multiplexed one and its manager on RESP3.

use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::streams::{StreamAutoClaimOptions, StreamReadOptions};
use redis::{
    AsyncConnectionConfig, AsyncTypedCommands, Client, ErrorKind, PushInfo, RedisError, RedisResult,
    TypedCommands, Value, pipe,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::both::{Seen, same_on_both_async, say};
use crate::clients::assert_all_sections;
use crate::server::Server;

#[test]
#[ignore = "runs with the other clients, in ./test"]
fn redis_rs() {
    let seen = same_on_both_async(&async |server| {
        let mut seen = Seen::new();
        whole_run(server, &mut seen).await.expect("no step fails for another reason than those it looks for");
        seen
    });
    assert_all_sections(&seen);
}

async fn whole_run(server: &mut Server, seen: &mut Seen) -> RedisResult<()> {
    blocking_api(server, seen)?;
    let (mut main, mut pushes) = manager(server).await?;
    handshake(server, &mut main, seen).await?;
    streams(&mut main, seen).await?;
    groups(&mut main, seen).await?;
    blocking(server, &mut main, seen).await?;
    let mut publisher = multiplexed(server).await?;
    pubsub(&mut main, &mut publisher, &mut pushes, seen).await?;
    transactions(&mut publisher, seen).await?;
    keys(&mut publisher, seen).await?;
    collections(&mut publisher, seen).await?;
    scripts(&mut publisher, seen).await?;
    reconnect(server, &mut main, &mut pushes, seen).await
}

/// A connection that comes back by itself, with what it is pushed.
async fn manager(server: &Server) -> RedisResult<(ConnectionManager, UnboundedReceiver<PushInfo>)> {
    let (sender, pushes) = unbounded_channel();
    let config = ConnectionManagerConfig::new().set_push_sender(sender).set_automatic_resubscription();
    let client = Client::open(format!("{}/?protocol=resp3", server.url()))?;
    Ok((client.get_connection_manager_with_config(config).await?, pushes))
}

async fn multiplexed(server: &Server) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    Client::open(server.url())?.get_multiplexed_async_connection_with_config(&config).await
}

/// Code and text of an error of the server.
fn failure<T>(result: RedisResult<T>) -> Option<String> {
    result.err().map(|error: RedisError| format!("{:?} {:?}", error.code(), error.detail()))
}

fn blocking_api(server: &Server, seen: &mut Seen) -> RedisResult<()> {
    let client = Client::open(format!("{}/5", server.url()))?;
    let mut connection = client.get_connection()?;
    say!(
        seen,
        "handshake blocking api",
        (connection.set("k", "v")?, connection.get("k")?, connection.ping()?)
    );
    let mut subscriber = client.get_connection()?;
    let mut subscription = subscriber.as_pubsub();
    subscription.psubscribe("n*")?;
    connection.publish("news", "one")?;
    let message = subscription.get_message()?;
    say!(seen, "pubsub blocking api", (message.get_channel_name(), message.get_payload::<String>()?));
    Ok(())
}

async fn handshake(server: &Server, main: &mut ConnectionManager, seen: &mut Seen) -> RedisResult<()> {
    let info: String = redis::cmd("CLIENT").arg("INFO").query_async(main).await?;
    say!(seen, "handshake protocol", info.split_whitespace().find(|field| field.starts_with("resp=")));
    let mut plain = multiplexed(server).await?;
    say!(seen, "handshake resp2", (plain.ping().await?, plain.get("k").await?));
    let missing: RedisResult<Value> = redis::cmd("NOSUCH").arg("a").query_async(&mut plain).await;
    say!(seen, "handshake unknown command", failure(missing));
    Ok(())
}

async fn streams(main: &mut ConnectionManager, seen: &mut Seen) -> RedisResult<()> {
    for n in 1..=4 {
        say!(seen, "streams xadd", main.xadd("s", format!("{n}-1"), &[("n", n)]).await?);
    }
    let automatic =
        main.xadd_maxlen("t", redis::streams::StreamMaxlen::Approx(100), "*", &[("f", "v")]).await?;
    say!(seen, "streams xadd auto", automatic.is_some_and(|id| id.ends_with("-0")));
    say!(seen, "streams xadd small id", failure(main.xadd("s", "1-1", &[("n", 1)]).await));
    say!(seen, "streams xlen", main.xlen("s").await?);
    say!(seen, "streams xrange", main.xrange_count("s", "-", "+", 2).await?);
    say!(seen, "streams xrevrange", main.xrevrange("s", "+", "(1-1").await?);
    say!(seen, "streams xread", main.xread(&["s", "t"], &["2-1", "$"]).await?);
    say!(seen, "streams xdel", main.xdel("s", &["4-1"]).await?);
    say!(seen, "streams xtrim", main.xtrim("t", redis::streams::StreamMaxlen::Equals(0)).await?);
    let info = main.xinfo_stream("s").await?;
    say!(
        seen,
        "streams info",
        (info.length, info.groups, info.last_generated_id, info.first_entry, info.last_entry)
    );
    Ok(())
}

async fn groups(main: &mut ConnectionManager, seen: &mut Seen) -> RedisResult<()> {
    let consumer = |name: &str| StreamReadOptions::default().group("g", name);
    say!(seen, "groups create", main.xgroup_create("s", "g", "0").await?);
    say!(seen, "groups create again", failure(main.xgroup_create("s", "g", "0").await));
    say!(seen, "groups create mkstream", main.xgroup_create_mkstream("made", "g", "$").await?);
    say!(seen, "groups read", main.xread_options(&["s"], &[">"], &consumer("a").count(2)).await?);
    say!(seen, "groups read other", main.xread_options(&["s"], &[">"], &consumer("b")).await?);
    say!(seen, "groups read nothing", main.xread_options(&["s"], &[">"], &consumer("b")).await?);
    say!(seen, "groups history", main.xread_options(&["s"], &["0"], &consumer("a")).await?);
    say!(seen, "groups pending", main.xpending("s", "g").await?);
    for each in main.xpending_count("s", "g", "-", "+", 10).await?.ids {
        let recent = each.last_delivered_ms < 60_000;
        say!(seen, "groups pending list", (each.id, each.consumer, recent, each.times_delivered));
    }
    say!(seen, "groups claim", main.xclaim("s", "g", "b", 0, &["1-1"]).await?);
    main.xdel("s", &["2-1"]).await?;
    let options = StreamAutoClaimOptions::default().count(10);
    say!(seen, "groups autoclaim", main.xautoclaim_options("s", "g", "c", 0, "0", options).await?);
    say!(seen, "groups ack", main.xack("s", "g", &["1-1", "9-9"]).await?);
    main.xadd("s", "5-1", &[("n", 5)]).await?;
    say!(seen, "groups noack", main.xread_options(&["s"], &[">"], &consumer("n").noack()).await?);
    for each in main.xinfo_groups("s").await?.groups {
        let position = (each.last_delivered_id, each.entries_read, each.lag);
        say!(seen, "groups info", (each.name, each.consumers, each.pending, position));
    }
    for each in main.xinfo_consumers("s", "g").await?.consumers {
        say!(seen, "groups consumers", (each.name, each.pending, each.idle < 60_000));
    }
    let nobody = StreamReadOptions::default().group("nobody", "a");
    say!(seen, "groups missing", failure(main.xread_options(&["s"], &[">"], &nobody).await));
    say!(seen, "groups delconsumer", main.xgroup_delconsumer("s", "g", "c").await?);
    say!(seen, "groups destroy", main.xgroup_destroy("s", "g").await?);
    Ok(())
}

async fn blocking(server: &Server, main: &mut ConnectionManager, seen: &mut Seen) -> RedisResult<()> {
    let mut reader = multiplexed(server).await?;
    let briefly = StreamReadOptions::default().block(30);
    say!(seen, "blocking timeout", reader.xread_options(&["b"], &["$"], &briefly).await?);
    main.xgroup_create_mkstream("b", "g", "$").await?;
    let options = StreamReadOptions::default().block(0).group("g", "a");
    let read = tokio::spawn(async move { reader.xread_options(&["b"], &[">"], &options).await });
    wait_until_blocked(main).await?;
    main.xadd("b", "1-1", &[("f", "v")]).await?;
    say!(seen, "blocking group read", read.await.expect("the reader does not panic")?);
    Ok(())
}

async fn wait_until_blocked(main: &mut ConnectionManager) -> RedisResult<()> {
    loop {
        let clients: String = redis::cmd("INFO").arg("clients").query_async(main).await?;
        if clients.contains("blocked_clients:1") {
            return Ok(());
        }
        tokio::task::yield_now().await;
    }
}

async fn pubsub(
    main: &mut ConnectionManager,
    publisher: &mut MultiplexedConnection,
    pushes: &mut UnboundedReceiver<PushInfo>,
    seen: &mut Seen,
) -> RedisResult<()> {
    main.subscribe(&["news", "sport"]).await?;
    main.psubscribe("n[ae]ws*").await?;
    say!(seen, "pubsub commands while subscribed", main.ping().await?);
    let receivers = (publisher.publish("news", "one").await?, publisher.publish("sport", "two").await?);
    say!(seen, "pubsub receivers", receivers);
    for _ in 0..6 {
        say!(seen, "pubsub push", pushes.recv().await);
    }
    main.unsubscribe("sport").await?;
    say!(seen, "pubsub unsubscribe", pushes.recv().await);
    say!(seen, "pubsub receivers after", publisher.publish("sport", "three").await?);
    Ok(())
}

async fn transactions(main: &mut MultiplexedConnection, seen: &mut Seen) -> RedisResult<()> {
    let mut transaction = pipe();
    transaction.atomic().xadd("tx", "1-1", &[("f", "v")]).set("a", 1).ignore().get("a").xlen("tx");
    say!(seen, "transactions exec", transaction.query_async::<Value>(main).await?);
    let mut failing = pipe();
    failing.atomic().set("a", 2).xlen("a").get("a");
    say!(seen, "transactions error inside", failure(failing.query_async::<Value>(main).await));
    let mut refused = pipe();
    refused.atomic().set("a", 3).cmd("SET").arg("a");
    let refusal = refused.query_async::<Value>(main).await.expect_err("SET needs a value");
    say!(
        seen,
        "transactions refused",
        (refusal.kind() == ErrorKind::Server(redis::ServerErrorKind::ExecAbort), refusal.code())
    );
    let mut plain = pipe();
    plain.set("a", 4).ignore().get("a").get("none");
    say!(seen, "transactions pipeline only", plain.query_async::<Value>(main).await?);
    Ok(())
}

async fn keys(main: &mut MultiplexedConnection, seen: &mut Seen) -> RedisResult<()> {
    main.set("k", "v").await?;
    say!(seen, "keys set", (main.get("k").await?, main.get("none").await?, main.exists("k").await?));
    say!(
        seen,
        "keys expire",
        (main.expire("k", 100).await?, main.ttl("k").await?, main.persist("k").await?, main.ttl("k").await?)
    );
    say!(
        seen,
        "keys types",
        (main.key_type("k").await?, main.key_type("s").await?, main.key_type("none").await?)
    );
    say!(seen, "keys rename", (main.rename("k", "k2").await?, failure(main.rename("k", "k3").await)));
    let mut scan = main.scan_match::<_, String>("*").await?;
    let mut found = Vec::new();
    while let Some(key) = scan.next_item().await {
        found.push(key?);
    }
    drop(scan);
    found.sort();
    say!(seen, "keys scan", found);
    say!(seen, "keys removed", (main.del(&["k2", "none"]).await?, main.unlink("s").await?));
    let (flushed, left): (String, i64) = pipe().cmd("FLUSHALL").cmd("DBSIZE").query_async(main).await?;
    say!(seen, "keys flushed", (flushed, left));
    Ok(())
}

async fn collections(main: &mut MultiplexedConnection, seen: &mut Seen) -> RedisResult<()> {
    let value = async |main: &mut MultiplexedConnection, words: &[&str]| {
        let (name, arguments) = words.split_first().expect("a command has a name");
        redis::cmd(name).arg(arguments).query_async::<Value>(main).await
    };
    for words in [
        &["HSET", "h", "a", "1", "b", "x"][..],
        &["HGETALL", "h"],
        &["HINCRBYFLOAT", "h", "a", "1.5"],
        &["SADD", "m", "1", "2"],
        &["SMEMBERS", "m"],
        &["ZADD", "z", "1", "a", "2.5", "b"],
        &["ZRANGE", "z", "0", "-1", "WITHSCORES"],
        &["ZADD", "z", "INCR", "1", "a"],
        &["ZMSCORE", "z", "a", "none"],
        &["BZPOPMIN", "z", "1"],
        &["ZRANGEBYSCORE", "z", "-inf", "+inf", "LIMIT", "0", "5"],
    ] {
        say!(seen, "collections", value(main, words).await?);
    }
    say!(seen, "collections wrong type", failure(value(main, &["SADD", "h", "x"]).await));
    Ok(())
}

async fn scripts(main: &mut MultiplexedConnection, seen: &mut Seen) -> RedisResult<()> {
    // Known by its hash after the first call; the flush makes the client load it again.
    let count = redis::Script::new("return redis.call('HINCRBY', KEYS[1], 'n', ARGV[1])");
    for flush in [false, true] {
        if flush {
            say!(seen, "scripts flush", redis::cmd("SCRIPT").arg("FLUSH").query_async::<Value>(main).await?);
        }
        say!(seen, "scripts run", count.key("counted").arg(7).invoke_async::<Value>(main).await?);
    }
    let told = redis::Script::new("return redis.error_reply('MINE told')");
    say!(seen, "scripts error", failure(told.invoke_async::<_, Value>(main).await));
    let tables = redis::Script::new("return {1.9, 'x', false, {'deep', {2}}, redis.status_reply('FINE')}");
    say!(seen, "scripts tables", tables.invoke_async::<_, Value>(main).await?);
    Ok(())
}

async fn reconnect(
    server: &mut Server,
    main: &mut ConnectionManager,
    pushes: &mut UnboundedReceiver<PushInfo>,
    seen: &mut Seen,
) -> RedisResult<()> {
    server.restart();
    // The first commands find the connection gone; the manager then makes another.
    while main.set("after", "restart").await.is_err() {
        tokio::task::yield_now().await;
    }
    say!(seen, "reconnect command", main.get("after").await?);
    let mut publisher = multiplexed(server).await?;
    while publisher.publish("news", "still here").await? < 2 {
        tokio::task::yield_now().await;
    }
    loop {
        let push = pushes.recv().await.expect("the connection lives");
        if push.kind == redis::PushKind::PMessage {
            say!(seen, "reconnect subscriptions", push);
            return Ok(());
        }
    }
}
