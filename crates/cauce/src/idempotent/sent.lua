-- Before the scripts that append events by their ids.

-- Marks that are kept whatever their age, so that no jump of the clock makes them too old; and how many are kept at most.
local KEPT, KEPT_MAX = 1000, 100000
-- A mark of event ids that publishers chose is kept so long: ten minutes. A stream that nobody publishes on loses all of them after a day.
local WINDOW, UNUSED = 600000, 86400000

-- Notes that the event became the entry. For each mark that is added up to two old ones go.
local function mark(sent, times, event, entry, time)
  redis.call('HSET', sent, event, entry)
  redis.call('ZADD', times, time, event)
  local count = redis.call('ZCARD', times)
  local old = {}
  if count > KEPT_MAX then
    old = redis.call('ZRANGE', times, 0, 1)
  elseif count > KEPT then
    old = redis.call('ZRANGEBYSCORE', times, '-inf', time - WINDOW, 'LIMIT', 0, 2)
  end
  for _, other in ipairs(old) do
    redis.call('HDEL', sent, other)
    redis.call('ZREM', times, other)
  end
  redis.call('PEXPIRE', sent, UNUSED)
  redis.call('PEXPIRE', times, UNUSED)
end

