-- KEYS: the bridge's state, the stream. ARGV: who, number of the message, then the entry's fields. Replies with 1, 2 if this message was
-- appended before, or 0 if somebody else is the active one.
local state = redis.call('HMGET', KEYS[1], 'owner', 'seq')
if state[1] ~= ARGV[1] then return 0 end
if tonumber(ARGV[2]) <= tonumber(state[2] or '0') then return 2 end
redis.call('XADD', KEYS[2], '*', unpack(ARGV, 3))
redis.call('HSET', KEYS[1], 'seq', ARGV[2])
return 1
