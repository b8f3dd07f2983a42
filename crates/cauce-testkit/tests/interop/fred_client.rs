//! The crate `fred`, on RESP2 and on RESP3: its pooled handshake, its subscriber that restores itself, its reconnect.

use fred::clients::SubscriberClient;
use fred::prelude::*;
use fred::types::RespVersion;
use fred::types::scan::Scanner;
use futures_util::TryStreamExt;

use crate::both::{Seen, same_on_both_async, say};
use crate::clients::assert_all_sections;
use crate::server::Server;

#[test]
#[ignore = "runs with the other clients, in ./test"]
fn fred_resp2() {
    check(&RespVersion::RESP2);
}

#[test]
#[ignore = "runs with the other clients, in ./test"]
fn fred_resp3() {
    check(&RespVersion::RESP3);
}

fn check(version: &RespVersion) {
    let seen = same_on_both_async(&async |server| {
        let mut seen = Seen::new();
        let run = whole_run(server, version.clone(), &mut seen).await;
        run.expect("no step fails for another reason than those it looks for");
        seen
    });
    assert_all_sections(&seen);
}

async fn whole_run(server: &mut Server, version: RespVersion, seen: &mut Seen) -> Result<(), Error> {
    let mut builder = Builder::from_config(Config { version, ..Config::from_url(&server.url())? });
    builder.set_policy(ReconnectPolicy::new_constant(0, 50));
    let main = builder.build()?;
    main.init().await?;
    let subscriber = builder.build_subscriber_client()?;
    subscriber.init().await?;

    handshake(&main, seen).await?;
    streams(&main, seen).await?;
    groups(&main, seen).await?;
    blocking(&main, seen).await?;
    pubsub(&main, &subscriber, seen).await?;
    transactions(&main, seen).await?;
    keys(&main, seen).await?;
    collections(&main, seen).await?;
    scripts(&main, seen).await?;
    reconnect(server, &main, &subscriber, seen).await?;
    main.quit().await?;
    subscriber.quit().await
}

/// Kind and text of an error of the server.
fn failure<T>(result: Result<T, Error>) -> Option<String> {
    result.err().map(|error| format!("{:?} {}", error.kind(), error.details()))
}

async fn handshake(main: &Client, seen: &mut Seen) -> Result<(), Error> {
    let info: String = main.client_info().await?;
    say!(seen, "handshake protocol", info.split_whitespace().find(|field| field.starts_with("resp=")));
    let _: () = main.client_setname("desk").await?;
    say!(seen, "handshake name", main.client_getname::<Value>().await?);
    say!(seen, "handshake ping", (main.ping::<Value>(None).await?, main.echo::<Value, _>("héllo").await?));
    say!(seen, "handshake version known", main.server_version().is_some());
    Ok(())
}

async fn streams(main: &Client, seen: &mut Seen) -> Result<(), Error> {
    for n in 1..=4 {
        say!(
            seen,
            "streams xadd",
            main.xadd::<Value, _, _, _, _>("s", false, None, format!("{n}-1"), ("n", n)).await?
        );
    }
    let automatic: String = main.xadd("t", false, ("MAXLEN", "~", 100), "*", ("f", "v")).await?;
    say!(seen, "streams xadd auto", automatic.ends_with("-0"));
    say!(
        seen,
        "streams nomkstream",
        main.xadd::<Value, _, _, _, _>("absent", true, None, "*", ("f", "v")).await?
    );
    say!(
        seen,
        "streams xadd small id",
        failure(main.xadd::<Value, _, _, _, _>("s", false, None, "1-1", ("f", "v")).await)
    );
    say!(seen, "streams xlen", main.xlen::<Value, _>("s").await?);
    say!(seen, "streams xrange", main.xrange::<Value, _, _, _>("s", "-", "+", Some(2)).await?);
    say!(seen, "streams xrevrange", main.xrevrange::<Value, _, _, _>("s", "+", "(1-1", None).await?);
    say!(seen, "streams xread", main.xread::<Value, _, _>(Some(2), None, "s", "2-1").await?);
    say!(seen, "streams xdel", main.xdel::<Value, _, _>("s", "4-1").await?);
    say!(seen, "streams xtrim", main.xtrim::<Value, _, _>("t", ("MAXLEN", "=", 0)).await?);
    Ok(())
}

async fn groups(main: &Client, seen: &mut Seen) -> Result<(), Error> {
    let read = async |consumer: &str, id: &str| {
        main.xreadgroup::<Value, _, _, _, _>("g", consumer, Some(2), None, false, "s", id).await
    };
    say!(seen, "groups create", main.xgroup_create::<Value, _, _, _>("s", "g", "0", false).await?);
    say!(
        seen,
        "groups create again",
        failure(main.xgroup_create::<Value, _, _, _>("s", "g", "0", false).await)
    );
    say!(seen, "groups create mkstream", main.xgroup_create::<Value, _, _, _>("made", "g", "$", true).await?);
    say!(seen, "groups read", read("a", ">").await?);
    say!(seen, "groups read other", read("b", ">").await?);
    say!(seen, "groups read nothing", read("b", ">").await?);
    say!(seen, "groups history", read("a", "0").await?);
    say!(seen, "groups pending", main.xpending::<Value, _, _, _>("s", "g", ()).await?);
    let pending: Vec<(String, String, u64, u64)> = main.xpending("s", "g", ("-", "+", 10)).await?;
    for (id, consumer, idle, deliveries) in pending {
        say!(seen, "groups pending list", (id, consumer, idle < 60_000, deliveries));
    }
    let claimed =
        main.xclaim::<Value, _, _, _, _>("s", "g", "b", 0, "1-1", None, None, None, false, false).await?;
    say!(seen, "groups claim", claimed);
    let _: () = main.xdel("s", "2-1").await?;
    say!(
        seen,
        "groups autoclaim",
        main.xautoclaim::<Value, _, _, _, _>("s", "g", "c", 0, "0", Some(10), false).await?
    );
    say!(seen, "groups ack", main.xack::<Value, _, _, _>("s", "g", vec!["1-1", "9-9"]).await?);
    let groups: Value = main.xinfo_groups("s").await?;
    say!(seen, "groups info", sorted_map(groups));
    say!(
        seen,
        "groups missing",
        failure(main.xreadgroup::<Value, _, _, _, _>("nobody", "a", None, None, false, "s", ">").await)
    );
    say!(seen, "groups delconsumer", main.xgroup_delconsumer::<Value, _, _, _>("s", "g", "c").await?);
    say!(seen, "groups destroy", main.xgroup_destroy::<Value, _, _>("s", "g").await?);
    Ok(())
}

/// RESP3 maps arrive as hash maps, whose debug form has no order of its own: their pairs, sorted.
fn sorted_map(value: Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.into_iter().flat_map(sorted_map).collect(),
        Value::Map(map) => {
            let mut pairs: Vec<String> = map.inner().into_iter().map(|pair| format!("{pair:?}")).collect();
            pairs.sort();
            pairs
        }
        other => vec![format!("{other:?}")],
    }
}

async fn blocking(main: &Client, seen: &mut Seen) -> Result<(), Error> {
    let reader = main.clone_new();
    reader.init().await?;
    say!(seen, "blocking timeout", reader.xread::<Value, _, _>(None, Some(30), "b", "$").await?);
    let _: () = main.xgroup_create("b", "g", "$", true).await?;
    let blocked = reader.clone();
    let read = tokio::spawn(async move {
        blocked.xreadgroup::<Value, _, _, _, _>("g", "a", None, Some(0), false, "b", ">").await
    });
    while !main.info::<String>(Some(fred::types::InfoKind::Clients)).await?.contains("blocked_clients:1") {
        tokio::task::yield_now().await;
    }
    let _: () = main.xadd("b", false, None, "1-1", ("f", "v")).await?;
    say!(seen, "blocking group read", read.await.expect("the reader does not panic")?);
    reader.quit().await
}

async fn pubsub(main: &Client, subscriber: &SubscriberClient, seen: &mut Seen) -> Result<(), Error> {
    let mut messages = subscriber.message_rx();
    subscriber.manage_subscriptions();
    subscriber.subscribe(vec!["news", "sport"]).await?;
    subscriber.psubscribe("n[ae]ws*").await?;
    subscriber.ssubscribe("shard").await?;
    subscriptions_are(main, (1, 1, 1)).await?;
    let receivers: (i64, i64, i64) = (
        main.publish("news", "one").await?,
        main.publish("sport", "two").await?,
        main.spublish("shard", "three").await?,
    );
    say!(seen, "pubsub receivers", receivers);
    for _ in 0..4 {
        let message = messages.recv().await.expect("the subscriber lives");
        say!(seen, "pubsub message", (message.kind, message.channel, message.value));
    }
    subscriber.unsubscribe("sport").await?;
    subscriptions_are(main, (0, 1, 1)).await?;
    say!(seen, "pubsub receivers after", main.publish::<i64, _, _>("sport", "four").await?);
    Ok(())
}

/// Waits until the server has this many for the channel `sport`, for patterns, and for the shard channel: fred returns
/// when the command is written.
async fn subscriptions_are(main: &Client, expected: (i64, i64, i64)) -> Result<(), Error> {
    loop {
        let sport: (Value, i64) = main.pubsub_numsub("sport").await?;
        let shard: (Value, i64) = main.pubsub_shardnumsub("shard").await?;
        if (sport.1, main.pubsub_numpat().await?, shard.1) == expected {
            return Ok(());
        }
        tokio::task::yield_now().await;
    }
}

async fn transactions(main: &Client, seen: &mut Seen) -> Result<(), Error> {
    let transaction = main.multi();
    let _: () = transaction.xadd("tx", false, None, "1-1", ("f", "v")).await?;
    let _: () = transaction.set("a", 1, None, None, false).await?;
    let _: () = transaction.get("a").await?;
    say!(seen, "transactions exec", transaction.exec::<Value>(true).await?);
    let failing = main.multi();
    let _: () = failing.set("a", 2, None, None, false).await?;
    let _: () = failing.xlen("a").await?;
    say!(seen, "transactions error inside", failure(failing.exec::<Value>(false).await));
    let pipeline = main.pipeline();
    let _: () = pipeline.get("a").await?;
    let _: () = pipeline.get("none").await?;
    say!(seen, "transactions pipeline only", pipeline.all::<Value>().await?);
    Ok(())
}

async fn keys(main: &Client, seen: &mut Seen) -> Result<(), Error> {
    let _: () = main.set("k", "v", Some(Expiration::PX(50_000)), None, false).await?;
    say!(seen, "keys get", (main.get::<Value, _>("k").await?, main.get::<Value, _>("none").await?));
    let remaining: i64 = main.pttl("k").await?;
    say!(
        seen,
        "keys expire",
        (remaining > 0, main.persist::<Value, _>("k").await?, main.ttl::<Value, _>("k").await?)
    );
    say!(seen, "keys exists", main.exists::<Value, _>(vec!["k", "k", "none"]).await?);
    say!(
        seen,
        "keys rename",
        (main.rename::<Value, _, _>("k", "k2").await?, failure(main.rename::<Value, _, _>("k", "k3").await))
    );
    let mut pages = std::pin::pin!(main.scan("*", Some(3), None));
    let mut found = Vec::new();
    while let Some(mut page) = pages.try_next().await? {
        found.extend(page.take_results().unwrap_or_default().into_iter().map(|key| format!("{key:?}")));
        page.next();
    }
    found.sort();
    say!(seen, "keys scan", found);
    say!(
        seen,
        "keys removed",
        (main.del::<Value, _>(vec!["k2", "none"]).await?, main.unlink::<Value, _>("s").await?)
    );
    let _: () = main.flushall(false).await?;
    say!(seen, "keys left", main.dbsize::<Value>().await?);
    Ok(())
}

async fn collections(main: &Client, seen: &mut Seen) -> Result<(), Error> {
    let _: () = main.hset("h", vec![("a", "1"), ("b", "x")]).await?;
    say!(
        seen,
        "collections hash",
        (
            main.hget::<Value, _, _>("h", "a").await?,
            main.hmget::<Value, _, _>("h", vec!["a", "none"]).await?,
            sorted_map(main.hgetall("h").await?),
            main.hincrby::<Value, _, _>("h", "a", 4).await?
        )
    );
    say!(
        seen,
        "collections set",
        (
            main.sadd::<Value, _, _>("m", vec!["1", "2"]).await?,
            main.sismember::<Value, _, _>("m", "1").await?
        )
    );
    let members = vec![(1.0, "a"), (2.5, "b")];
    say!(
        seen,
        "collections sorted set",
        (
            main.zadd::<Value, _, _>("z", None, None, false, false, members).await?,
            main.zscore::<Value, _, _>("z", "b").await?,
            main.zrange::<Value, _, _, _>("z", 0, -1, None, false, None, true).await?,
            main.zpopmin::<Value, _>("z", Some(1)).await?
        )
    );
    say!(seen, "collections wrong type", failure(main.sadd::<Value, _, _>("h", "x").await));
    Ok(())
}

async fn scripts(main: &Client, seen: &mut Seen) -> Result<(), Error> {
    let script = "return {KEYS[1], ARGV[1], 3.9, false, {1, {'deep'}}}";
    say!(seen, "scripts eval", main.eval::<Value, _, _, _>(script, "k", "a").await?);
    let sha: String = main.script_load("return redis.call('HINCRBY', KEYS[1], 'n', ARGV[1])").await?;
    say!(
        seen,
        "scripts evalsha",
        (
            &sha,
            main.evalsha::<Value, _, _, _>(&sha, "counted", 7).await?,
            main.script_exists::<Value, _>(&sha).await?
        )
    );
    say!(seen, "scripts missing", failure(main.evalsha::<Value, _, _, _>("f".repeat(40), (), ()).await));
    Ok(())
}

async fn reconnect(
    server: &mut Server,
    main: &Client,
    subscriber: &SubscriberClient,
    seen: &mut Seen,
) -> Result<(), Error> {
    let mut messages = subscriber.message_rx();
    server.restart();
    while main.set::<(), _, _>("after", "restart", None, None, false).await.is_err() {
        tokio::task::yield_now().await;
    }
    say!(seen, "reconnect command", main.get::<Value, _>("after").await?);
    while main.publish::<i64, _, _>("news", "still here").await? < 2 {
        tokio::task::yield_now().await;
    }
    let message = messages.recv().await.expect("the subscriber lives");
    say!(seen, "reconnect subscriptions", (message.channel, message.value));
    Ok(())
}
