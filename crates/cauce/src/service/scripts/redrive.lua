-- Gives a dead letter back to its group. Replies 0 if the letter is gone, 1 if the entry is pending there again already, 2 if the entry itself
-- is pending now, or the id of its copy on the group's side stream.
-- KEYS: stream, dead letters, due times, attempts, side stream
-- ARGV: the letter's id, group, the entry's id, '1' to write a copy in any case, then fields and values of the copy
local stream, group, id, time = KEYS[1], ARGV[2], ARGV[3], now()
if not redis.call('XRANGE', KEYS[2], ARGV[1], ARGV[1])[1] then return 0 end
-- Fails if the group does not exist any more.
local pending = redis.call('XPENDING', stream, group, id, id, 1)
if pending[1] then return 1 end
local copy = 2
if ARGV[4] ~= '1' and redis.call('XRANGE', stream, id, id)[1] then
  redis.call('XCLAIM', stream, group, 'cauce:retry', 0, id, 'RETRYCOUNT', 0, 'FORCE', 'JUSTID')
  redis.call('ZADD', KEYS[3], time, id)
  forget(KEYS[4], id)
else
  copy = redis.call('XADD', KEYS[5], '*', unpack(ARGV, 5))
end
redis.call('XDEL', KEYS[2], ARGV[1])
return copy
