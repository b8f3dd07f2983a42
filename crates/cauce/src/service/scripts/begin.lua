-- Whether an event is to be handled: 1 if nobody has or is about to, 0 if it was handled, 2 if another entry of it is pending.
-- KEYS: stream, attempts, inbox
-- ARGV: group, id, event id
local stream, attempts, id, event = KEYS[1], KEYS[2], ARGV[2], ARGV[3]
if redis.call('ZSCORE', KEYS[3], event) then return 0 end
local first = redis.call('HGET', attempts, 'begun:' .. event)
if first and first ~= id then
  -- Unless it became a dead letter, or was deleted: then this one takes its place.
  if redis.call('XPENDING', stream, ARGV[1], first, first, 1)[1] then return 2 end
  redis.call('HDEL', attempts, 'event:' .. first)
end
redis.call('HSET', attempts, 'begun:' .. event, id, 'event:' .. id, event)
return 1
