-- Makes this consumer the group's reader of the stream, or renews that. Replies 1 if it is, and the connection by which the one before it read, if
-- that did not give it up.
-- KEYS: reader, owner
-- ARGV: consumer, lease ms, the connection by which it reads ('': it was the reader until now, or nothing happens)
local reader = redis.call('GET', KEYS[1])
if reader and reader ~= ARGV[1] then return {0, ''} end
-- A lease that ended can be renewed if nobody has read since.
if not reader and ARGV[3] == '' and redis.call('HGET', KEYS[2], 'consumer') ~= ARGV[1] then return {0, ''} end
local before = ''
if ARGV[3] ~= '' then
  before = redis.call('HGET', KEYS[2], 'connection') or ''
  redis.call('HSET', KEYS[2], 'consumer', ARGV[1], 'connection', ARGV[3])
  if not reader then redis.call('HSET', KEYS[2], 'since', string.format('%.0f', now())) end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {1, before}
