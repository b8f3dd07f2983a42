-- Reads again what is pending with this consumer and never reached it: not an attempt, so its count stays. Replies as take_over does.
-- KEYS: stream, attempts, due times
-- ARGV: group, consumer, then id and delivery count of each
local stream, attempts, group = KEYS[1], KEYS[2], ARGV[1]
local taken = {}
for at = 3, #ARGV, 2 do
  local id, count = ARGV[at], tonumber(ARGV[at + 1])
  if deliveries(stream, group, id, ARGV[2]) == count and not redis.call('ZSCORE', KEYS[3], id) then
    local entry = redis.call('XCLAIM', stream, group, ARGV[2], 0, id, 'RETRYCOUNT', count)[1]
    if entry then
      taken[#taken + 1] = {entry[1], entry[2], count, redis.call('HGET', attempts, id), 0}
    else
      redis.call('XACK', stream, group, id)
      forget(attempts, id)
    end
  end
end
return {now(), (#ARGV - 2) / 2, taken}
