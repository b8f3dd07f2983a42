#!/usr/bin/env bash
# What redis-server takes from kill -9 to its first answer with what `cargo bench -p cauce-broker --bench history` fills a
# directory with: ENTRIES entries of one stream (default ten million), a thousand groups that each have some in hand.
# Redis's own defaults but for `appendonly yes`, and `appendfsync no` while it is filled.
set -euo pipefail
entries=${1:-10000000}
directory=$(mktemp -d)
port=${PORT:-16399}
server=
trap 'kill -9 "$server" 2>/dev/null || true; rm -rf "$directory"' EXIT

start() {
  redis-server --dir "$directory" --port "$port" --save '' --appendonly yes --appendfsync no --loglevel warning >/dev/null &
  server=$!
}
ask() { redis-cli -p "$port" "$@" 2>/dev/null || true; }

start
until [ "$(ask ping)" = PONG ]; do sleep 0.05; done
{
  seq -f 'XGROUP CREATE history group-%.0f 0 MKSTREAM' 0 999
  seq -f 'XADD history * n %.0f' 0 $((entries - 1))
  for group in $(seq 0 999); do
    echo "XREADGROUP GROUP group-$group c COUNT $((group % 10 + 1)) STREAMS history >"
  done
} | redis-cli -p "$port" --pipe | tail -1
# As it is found after a while: a rewrite that is under way is waited for.
while ask info persistence | grep -q 'aof_rewrite_in_progress:1'; do sleep 0.5; done
kill -9 "$server"; wait "$server" 2>/dev/null || true
du -h "$directory"/appendonlydir/*

began=$(date +%s%N)
start
until [ "$(ask xlen history)" = "$entries" ]; do sleep 0.01; done
echo "redis-server: $((($(date +%s%N) - began) / 1000000)) ms from its start to the first answer with $entries entries"
