-- Lets the next occurrence of a schedule wait for its time, unless one does. Replies the time, the due time of the last one that was made, and
-- 1 if that one waits.
-- KEYS: the schedule, due times, events, what was sent
-- ARGV: pattern, '1' if a new pattern takes the place of an old one's occurrence; then nothing, or the due time, the event's id, ms that it may be late
-- ('' for any), fields and values
local known = redis.call('HMGET', KEYS[1], 'due', 'id', 'pattern')
local time, last = string.format('%.0f', now()), tonumber(known[1] or '0')
local waits = known[2] and redis.call('ZSCORE', KEYS[2], known[2])
if waits and ARGV[2] == '1' and known[3] ~= ARGV[1] then
  redis.call('ZREM', KEYS[2], known[2])
  redis.call('HDEL', KEYS[3], known[2])
  redis.call('HDEL', KEYS[1], 'due', 'id')
  waits, last = false, 0
end
if waits then return {time, known[1], 1} end
if #ARGV == 2 then return {time, string.format('%.0f', last), 0} end
if tonumber(ARGV[3]) <= last or redis.call('HGET', KEYS[4], ARGV[4]) then return {time, ARGV[3], 0} end
redis.call('HSET', KEYS[3], ARGV[4], cmsgpack.pack({ARGV[5], unpack(ARGV, 6)}))
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[4])
redis.call('HSET', KEYS[1], 'due', ARGV[3], 'id', ARGV[4], 'pattern', ARGV[1])
return {time, ARGV[3], 1}
