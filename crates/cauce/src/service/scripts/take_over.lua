-- Gives this consumer entries of one whose lease lapsed. Replies the time, how many were found, and the entries: id, fields, delivery count,
-- attempts, 1 if its owner ran it alone.
-- KEYS: stream, attempts, the other's lease
-- ARGV: group, consumer, the other, idle ms, at most so many
local stream, attempts, group, other = KEYS[1], KEYS[2], ARGV[1], ARGV[3]
local time, taken = now(), {}
if redis.call('EXISTS', KEYS[3]) == 1 then return {time, 0, taken} end
local found = redis.call('XPENDING', stream, group, 'IDLE', ARGV[4], '-', '+', ARGV[5], other)
for _, pending in ipairs(found) do
  local id, count = pending[1], pending[4]
  local entry = redis.call('XCLAIM', stream, group, ARGV[2], 0, id, 'RETRYCOUNT', count + 1)[1]
  if entry then
    local alone = redis.call('HGET', attempts, 'alone:' .. id) == other
    note(attempts, id, string.format('{"attempt":%d,"instance":%s,"lost":true,"end":%.0f}', count, quoted(other), time))
    taken[#taken + 1] = {entry[1], entry[2], count + 1, redis.call('HGET', attempts, id), alone and 1 or 0}
  else
    redis.call('XACK', stream, group, id)
    forget(attempts, id)
  end
end
return {time, #found, taken}
