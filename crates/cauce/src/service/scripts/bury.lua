-- Makes an entry a dead letter; 0 if this consumer does not own it any more.
-- KEYS: stream, dead letters, attempts
-- ARGV: group, consumer, id, delivery count (0: it was never pending), ms that the attempt took, its record ('' if it was not run), '1' to
-- delete the entry, then the letter's fields and values.
local stream, group, id, count = KEYS[1], ARGV[1], ARGV[3], tonumber(ARGV[4])
if count > 0 and deliveries(stream, group, id, ARGV[2]) ~= count then return 0 end
local known = redis.call('HGET', KEYS[3], id) or ''
if ARGV[6] ~= '' then
  known = known .. (known ~= '' and ',' or '') .. timed(ARGV[6], now(), ARGV[5])
end
-- First, because it is the one that may fail: then nothing has happened.
redis.call('XADD', KEYS[2], '*', 'history', '[' .. known .. ']', unpack(ARGV, 8))
if count > 0 then redis.call('XACK', stream, group, id) end
if ARGV[7] == '1' then redis.call('XDEL', stream, id) end
forget(KEYS[3], id)
return 1
