"""redis-py against one server: python client.py PORT

Writes one line per observation, `section step => value`, which the test that started it compares between two
servers. Ids and times that a server chooses are replaced by what must hold.
"""

import json
import re
import sys
import time

import redis

port = int(sys.argv[1])


def connect(**options):
    return redis.Redis(host="127.0.0.1", port=port, decode_responses=True, **options)


def plain(value):
    """A value as JSON can show it."""
    if isinstance(value, redis.RedisError):
        return failure_text(value)
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value


def say(step, value):
    print(f"{step} => {json.dumps(plain(value))}", flush=True)


def failure_text(error):
    return f"{type(error).__name__}: {error}"


def failure(call, *args, **options):
    try:
        return {"unexpected": call(*args, **options)}
    except redis.RedisError as error:
        return failure_text(error)


def until(predicate):
    """Polls until the predicate holds: for what a server does without telling us."""
    while not predicate():
        time.sleep(0.02)


def handshake(main):
    say("handshake protocol", [main.client_info()["resp"], main.ping(), main.echo("héllo")])
    other = connect(db=3, client_name="desk")
    other.set("where", "three")
    say("handshake database", [other.get("where"), main.get("where"), other.client_getname()])
    other.close()
    old = connect(protocol=2)
    say("handshake resp2", [old.client_info()["resp"], old.config_get("maxmemory-policy")])
    old.close()
    info = main.info()
    say("handshake info", [info["loading"], info["redis_mode"], info["role"], int(info["redis_version"][0]) >= 7])


def streams(main):
    for n in range(1, 5):
        say(f"streams xadd {n}", main.xadd("s", {"action": "created", "n": n}, id=f"{n}-1"))
    say("streams xadd auto", bool(re.fullmatch(r"\d{13}-\d+", main.xadd("t", {"f": "v"}, maxlen=1000))))
    say("streams nomkstream", main.xadd("absent", {"f": "v"}, nomkstream=True))
    say("streams xadd small id", failure(main.xadd, "s", {"f": "v"}, id="1-1"))
    say("streams xlen", main.xlen("s"))
    say("streams xrange", main.xrange("s", count=2))
    say("streams xrevrange", main.xrevrange("s", min="(1-1"))
    say("streams xread", main.xread({"s": "2-1", "t": "$"}, count=2))
    say("streams xdel", main.xdel("s", "4-1"))
    say("streams xtrim", main.xtrim("t", maxlen=0, approximate=False))
    main.set("string", "x")
    say("streams wrong type", failure(main.xlen, "string"))


def groups(main):
    def read(consumer, position=">", **options):
        return main.xreadgroup("g", consumer, {"s": position}, **options)

    say("groups create", main.xgroup_create("s", "g", id="0"))
    say("groups create again", failure(main.xgroup_create, "s", "g", id="0"))
    say("groups create without stream", failure(main.xgroup_create, "absent", "g"))
    say("groups create mkstream", main.xgroup_create("made", "g", mkstream=True))
    say("groups read", read("a", count=2))
    say("groups read other", read("b"))
    say("groups read nothing", read("b"))
    say("groups history", read("a", "0"))
    say("groups pending", main.xpending("s", "g"))
    pending = main.xpending_range("s", "g", "-", "+", 10)
    idle = "time_since_delivered"
    say("groups pending list", [each | {idle: 0 <= each[idle] < 60000} for each in pending])
    say("groups claim", main.xclaim("s", "g", "b", 0, ["1-1"]))
    say("groups claim justid", main.xclaim("s", "g", "b", 0, ["2-1"], justid=True))
    main.xdel("s", "2-1")
    say("groups history of a deleted entry", read("b", "0"))
    say("groups autoclaim", main.xautoclaim("s", "g", "c", 0))
    say("groups ack", main.xack("s", "g", "1-1", "9-9"))
    say("groups noack", [main.xadd("s", {"n": 5}, id="5-1"), read("n", noack=True)])
    say("groups info", main.xinfo_groups("s"))
    say("groups consumers", [[each["name"], each["pending"]] for each in main.xinfo_consumers("s", "g")])
    say("groups missing", failure(main.xreadgroup, "nobody", "a", {"s": ">"}))
    say("groups delconsumer", main.xgroup_delconsumer("s", "g", "c"))
    say("groups destroy", main.xgroup_destroy("s", "g"))


def blocking(main):
    from threading import Thread

    def while_blocked(read, entry_id):
        """What a read, blocked in a thread with a connection of its own, gets when an entry is added."""
        seen = []
        thread = Thread(target=lambda: seen.append(read()))
        thread.start()
        until(lambda: main.info("clients")["blocked_clients"] == 1)
        main.xadd("b", {"f": "v"}, id=entry_id)
        thread.join()
        return seen[0]

    reader = connect()
    say("blocking timeout", reader.xread({"b": "$"}, block=30))
    main.xgroup_create("b", "g", mkstream=True)
    say("blocking group read", while_blocked(lambda: reader.xreadgroup("g", "a", {"b": ">"}, block=0), "1-1"))
    say("blocking read", while_blocked(lambda: reader.xread({"b": "$"}, block=0), "2-1"))
    reader.close()


def take(subscriber, n):
    """The next n messages; confirmations count too."""
    seen = []
    while len(seen) < n:
        message = subscriber.get_message(timeout=1)
        if message:
            seen.append([message["type"], message["pattern"], message["channel"], message["data"]])
    return seen


def pubsub(main, subscriber):
    subscriber.subscribe("news", "sport")
    subscriber.psubscribe("n[ae]ws*")
    subscriber.ssubscribe("shard")
    say("pubsub confirmations", take(subscriber, 4))
    say("pubsub receivers", [main.publish("news", "one"), main.publish("sport", "two"), main.spublish("shard", "three")])
    say("pubsub messages", take(subscriber, 3))
    say("pubsub channels", [sorted(main.pubsub_channels()), main.pubsub_shardchannels()])
    say("pubsub counts", [main.pubsub_numsub("news", "none"), main.pubsub_numpat()])
    subscriber.unsubscribe("sport")
    say("pubsub unsubscribe", take(subscriber, 2))
    say("pubsub receivers after", main.publish("sport", "four"))


def transactions(main):
    with main.pipeline() as pipe:
        pipe.xadd("tx", {"f": "v"}, id="1-1").set("a", 1).get("a").xlen("tx").xrange("tx")
        say("transactions exec", pipe.execute())
    with main.pipeline() as pipe:
        pipe.set("a", 2).xlen("a").get("a")
        say("transactions error inside", pipe.execute(raise_on_error=False))
    with main.pipeline() as pipe:
        pipe.watch("a")
        main.set("a", "rival")
        pipe.multi()
        pipe.set("a", "mine")
        say("transactions watch lost", failure(pipe.execute))
    with main.pipeline(transaction=False) as pipe:
        pipe.set("a", 3).get("a").get("none")
        say("transactions pipeline only", pipe.execute())


def keys(main):
    say("keys set", [main.set("k", "v"), main.get("k"), main.get("none")])
    say("keys set options", [main.set("k", "w", nx=True), main.set("k", "w", xx=True, px=50000)])
    say("keys expire", [0 < main.pttl("k") <= 50000, main.persist("k"), main.ttl("k"), main.ttl("none")])
    say("keys types", [main.type("k"), main.type("s"), main.type("none"), main.exists("k", "k", "none")])
    say("keys rename", [main.rename("k", "k2"), failure(main.rename, "k", "k3")])
    say("keys scan", [sorted(main.scan_iter(count=3)), sorted(main.scan_iter(_type="stream")), main.keys("k*")])
    say("keys removed", [main.delete("k2", "none"), main.unlink("s"), main.flushall(), main.dbsize()])
    say("keys unknown", failure(main.execute_command, "NOSUCH", "a", "b"))


def collections(main):
    say("collections hash", [main.hset("h", mapping={"a": 1, "b": "x"}), main.hget("h", "a"), main.hmget("h", "a", "none"), main.hgetall("h")])
    say("collections hash counts", [main.hincrby("h", "a", 4), main.hincrbyfloat("h", "f", 1.5), main.hlen("h"), main.hdel("h", "f", "none"), main.hexists("h", "b")])
    say("collections set", [main.sadd("m", "a", "b", "c"), main.srem("m", "c"), main.sismember("m", "a"), main.smismember("m", ["a", "z"]), sorted(main.smembers("m"))])
    say("collections sorted set", [main.zadd("z", {"a": 1, "b": 2.5, "c": 7}), main.zscore("z", "b"), main.zscore("z", "none"), main.zrange("z", 0, -1, withscores=True)])
    say("collections by score", [main.zrangebyscore("z", "-inf", 2.5, withscores=True), main.zrank("z", "c"), main.zincrby("z", 1, "a"), main.zpopmin("z"), main.zpopmax("z", 5)])
    main.zadd("now", {"m": 1.5})
    say("collections blocking", [main.bzpopmin("now", 1), main.bzpopmin("now", 0.01)])
    say("collections algebra", [main.sadd("m2", "b", "q"), sorted(main.sinter("m", "m2")), main.zadd("z2", {"a": 4}), main.zunion(["z2", "m2"], withscores=True)])
    say("collections strings", [main.append("str", "abc"), main.getrange("str", 1, -1), main.incrbyfloat("n", 0.5), main.getdel("str"), main.mget("str", "n")])
    say("collections wrong type", failure(main.sadd, "h", "x"))


def scripts(main):
    say("scripts eval", main.eval("return {KEYS[1], ARGV[1], 3.9, false, {1, {'deep'}}}", 1, "k", "a"))
    count = main.register_script("return redis.call('HINCRBY', KEYS[1], 'n', ARGV[1])")
    say("scripts registered", [count(keys=["counted"], args=[7]), main.script_flush(), count(keys=["counted"], args=[1]), main.script_exists(count.sha, "f" * 40)])
    say("scripts missing", failure(main.evalsha, "f" * 40, 0))
    say("scripts error", failure(main.eval, "return redis.error_reply('MINE told')", 0))
    say("scripts readonly", failure(main.eval_ro, "return 1", 0))


def reconnect(main, subscriber):
    """Asks the test to kill the server and start another on the same port."""
    print("restart", flush=True)
    sys.stdin.readline()
    say("reconnect command", main.set("after", "restart"))
    until(lambda: reads_on(subscriber) and main.pubsub_numsub("news") == [("news", 1)] and main.pubsub_numpat() == 1)
    main.publish("news", "still here")
    seen = []
    while ["message", None, "news", "still here"] not in seen:
        seen += take(subscriber, 1)
    say("reconnect subscriptions", seen[-1])


def reads_on(subscriber):
    """redis-py reconnects a subscription when it is read from; the first read tells of the loss."""
    try:
        subscriber.get_message(timeout=0.01)
        return True
    except redis.ConnectionError:
        return False


def run():
    main = connect()
    subscriber = connect().pubsub()
    handshake(main)
    streams(main)
    groups(main)
    blocking(main)
    pubsub(main, subscriber)
    transactions(main)
    keys(main)
    collections(main)
    scripts(main)
    reconnect(main, subscriber)
    print("end")


run()
