-- Keeps reapers of other makes away from entries that wait for their next attempt, and finds those that nothing would ever take; says how many.
-- KEYS: stream, due times
-- ARGV: group, idle ms, at most so many
local ids, time = {}, now()
local found = redis.pcall('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[2], '-', '+', ARGV[3], 'cauce:retry')
for _, pending in ipairs(found) do
  ids[#ids + 1] = pending[1]
  if not redis.call('ZSCORE', KEYS[2], pending[1]) then redis.call('ZADD', KEYS[2], time, pending[1]) end
end
if #ids > 0 then
  ids[#ids + 1] = 'JUSTID'
  redis.call('XCLAIM', KEYS[1], ARGV[1], 'cauce:retry', 0, unpack(ids))
end
return #found
