"""python producer.py PORT FIRST COUNT: adds numbered entries, fields written by hand."""

import sys

import redis

port, first, count = map(int, sys.argv[1:])
client = redis.Redis(host="127.0.0.1", port=port, decode_responses=True)
for n in range(first, first + count):
    print("added", client.xadd("streamsKey", {"action": "action_type", "n": n, "key_2": "value_2"}))
