"""python acknowledging.py PORT GROUP CONSUMER ABANDONED_AFTER_MS [stall]: at least once, by hand.

Reads, handles, acknowledges; now and then takes over what a sibling left behind. Runs until its standard input
closes. With `stall` it hangs before its first ack.
"""

import sys
import threading

import redis

STREAM = "streamsKey"
port, group, consumer, abandoned_after_ms = sys.argv[1:5]
stall = "stall" in sys.argv[5:]
client = redis.Redis(host="127.0.0.1", port=int(port), decode_responses=True)
closed = threading.Event()


def wait_for_end_of_input():
    sys.stdin.read()
    closed.set()


def handle(entries, how):
    for entry_id, fields in entries:
        if stall:
            print(f"holding {len(entries)}")
            threading.Event().wait()
        print(f"{how} {fields['n']}")
        print(f"acked {client.xack(STREAM, group, entry_id)}")


def run():
    try:
        client.xgroup_create(STREAM, group, id="0", mkstream=True)
    except redis.ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):
            raise
    print("ready")
    while not closed.is_set():
        for _, entries in client.xreadgroup(group, consumer, {STREAM: ">"}, count=5, block=100):
            handle(entries, "handled")
        _, entries, _ = client.xautoclaim(STREAM, group, consumer, int(abandoned_after_ms), count=10)
        handle(entries, "took over")


threading.Thread(target=wait_for_end_of_input, daemon=True).start()
run()
