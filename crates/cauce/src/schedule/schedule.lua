-- Lets an event wait for its time. Replies its due time, and 1 if it waits now, 0 if it did already, -1 if it was published before.
-- KEYS: due times, events, what was sent
-- ARGV: event id, 'in' or 'at', ms, ms that it may be late ('' for any), how many may wait, then fields and values
local known = redis.call('ZSCORE', KEYS[1], ARGV[1])
if known then return {known, 0} end
if redis.call('HGET', KEYS[3], ARGV[1]) then return {'0', -1} end
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[5]) then
  return redis.error_reply('DELAYEDFULL ' .. ARGV[5] .. ' events wait for their time on this stream already: publish later, or cancel some')
end
local due = tonumber(ARGV[3])
if ARGV[2] == 'in' then due = now() + due end
-- First, because it is the one that may be refused: then nothing has happened.
redis.call('HSET', KEYS[2], ARGV[1], cmsgpack.pack({ARGV[4], unpack(ARGV, 6)}))
redis.call('ZADD', KEYS[1], string.format('%.0f', due), ARGV[1])
return {string.format('%.0f', due), 1}
