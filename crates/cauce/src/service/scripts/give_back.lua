-- Gives entries up for any instance to take at once; says how many it owned.
-- KEYS: stream, due times
-- ARGV: group, consumer, then of each its id, its delivery count, and the count that it gets back
local stream, group, time, given = KEYS[1], ARGV[1], now(), 0
for at = 3, #ARGV, 3 do
  local id = ARGV[at]
  if deliveries(stream, group, id, ARGV[2]) == tonumber(ARGV[at + 1]) then
    redis.call('XCLAIM', stream, group, 'cauce:retry', 0, id, 'RETRYCOUNT', ARGV[at + 2], 'JUSTID')
    redis.call('ZADD', KEYS[2], time, id)
    given = given + 1
  end
end
return given
