-- Puts a failed entry aside until its next attempt is due; 0 if this consumer does not own it any more, 2 if it will be given to the group again, or
-- was: then this was said before, and its reply was lost.
-- KEYS: stream, due times, attempts
-- ARGV: group, consumer, id, delivery count, who is to have it meanwhile, delay in ms, ms that the attempt took, its record
local stream, group, id, count = KEYS[1], ARGV[1], ARGV[3], tonumber(ARGV[4])
local known = deliveries(stream, group, id, ARGV[2])
if known ~= count then return (known or comes_again(stream, group, id)) and 2 or 0 end
-- Where order is kept it waits with the consumer that put it aside.
if redis.call('ZSCORE', KEYS[2], id) then return 1 end
local ended = now()
note(KEYS[3], id, timed(ARGV[8], ended, ARGV[7]))
redis.call('HDEL', KEYS[3], 'alone:' .. id)
redis.call('XCLAIM', stream, group, ARGV[5], 0, id, 'RETRYCOUNT', count, 'JUSTID')
redis.call('ZADD', KEYS[2], ended + ARGV[6], id)
return 1
