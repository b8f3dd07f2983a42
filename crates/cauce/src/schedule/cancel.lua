-- Takes back an event that waits for its time; 1 if it did.
-- KEYS: due times, events
-- ARGV: event id
redis.call('HDEL', KEYS[2], ARGV[1])
return redis.call('ZREM', KEYS[1], ARGV[1])
