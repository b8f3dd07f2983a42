-- Takes a consumer out of its group, unless it lives or has pending entries; says whether.
-- KEYS: stream, its lease, members
-- ARGV: group, consumer, '1' if it leaves by itself
if ARGV[3] == '1' then redis.call('DEL', KEYS[2]) end
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
if pending[1] then return 0 end
if not pending.err then redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2]) end
redis.call('HDEL', KEYS[3], ARGV[2])
return 1
