-- Gives this consumer the entries whose next attempt is due. Replies the time, when the next is due (in ms from now, -1 if none), the entries
-- (id, fields, delivery count, attempts), and the ids of what is gone.
-- KEYS: stream, due times, attempts, reader
-- ARGV: group, consumer, at most so many, '1' where order is kept: then the reader has what waits, and nobody else may take it
local stream, due, attempts, group, consumer = KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2]
local time, taken, gone = now(), {}, {}
if ARGV[4] == '1' and redis.call('GET', KEYS[4]) ~= consumer then return {time, -1, taken, gone} end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', time, 'LIMIT', 0, ARGV[3])) do
  redis.call('ZREM', due, id)
  local count = deliveries(stream, group, id, 'cauce:retry')
    or ARGV[4] == '1' and deliveries(stream, group, id, consumer)
  local entry = count and redis.call('XCLAIM', stream, group, consumer, 0, id, 'RETRYCOUNT', count + 1)[1]
  if entry then
    taken[#taken + 1] = {entry[1], entry[2], count + 1, redis.call('HGET', attempts, id)}
  elseif not count and ARGV[4] == '1' and comes_again(stream, group, id) then
    -- The group was lost. Others of its key wait until it was given again.
    forget(attempts, id)
  else
    -- Deleted from the stream, or settled by somebody else.
    if count then redis.call('XACK', stream, group, id) end
    forget(attempts, id)
    gone[#gone + 1] = id
  end
end
local following = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')[2]
return {time, following and math.max(0, following - time) or -1, taken, gone}
