-- Gives the group's only reader everything that is pending, in order. Replies the time, how many were found, the entries (id, fields, delivery
-- count, attempts, 1 if its owner ran it alone, 1 if its next attempt is not due yet and 2 if it has just become so), what is gone, and the last id that was looked at. The number is
-- -1 if this consumer is not the reader.
-- KEYS: stream, due times, attempts, reader
-- ARGV: group, consumer, after this id ('-' for all), at most so many
local stream, due, attempts, group, consumer = KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2]
local time, taken, gone, last = now(), {}, {}, false
if redis.call('GET', KEYS[4]) ~= consumer then return {time, -1, taken, gone, false} end
local found = redis.call('XPENDING', stream, group, ARGV[3], '+', ARGV[4])
for _, pending in ipairs(found) do
  local id, owner, count = pending[1], pending[2], pending[4]
  last = id
  local score = redis.call('ZSCORE', due, id)
  local parked = score and tonumber(score) > time
  local crashed = owner ~= consumer and owner ~= 'cauce:retry' and not score
  -- What waits keeps its count until it is due; what was only read here keeps it too.
  if crashed or owner == 'cauce:retry' and not parked or score and not parked then count = count + 1 end
  local entry = redis.call('XCLAIM', stream, group, consumer, 0, id, 'RETRYCOUNT', count)[1]
  if score and not parked then redis.call('ZREM', due, id) end
  if entry then
    local alone = redis.call('HGET', attempts, 'alone:' .. id) == owner and crashed
    if crashed then
      note(attempts, id, string.format('{"attempt":%d,"instance":%s,"lost":true,"end":%.0f}', count - 1, quoted(owner), time))
    end
    taken[#taken + 1] = {entry[1], entry[2], count, redis.call('HGET', attempts, id), alone and 1 or 0, parked and 1 or score and 2 or 0}
  else
    redis.call('XACK', stream, group, id)
    redis.call('ZREM', due, id)
    forget(attempts, id)
    gone[#gone + 1] = id
  end
end
return {time, #found, taken, gone, last}
