-- Appends the events whose time has come. Replies how many it looked at, how many it dropped because they were too late, and in how many ms the
-- next is due (-1 if none).
-- KEYS: stream, due times, events, what was sent, when it was sent
-- ARGV: at most so many
local stream, times, events, sent, sent_times = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local time, dropped = now(), 0
local due = redis.call('ZRANGEBYSCORE', times, '-inf', time, 'WITHSCORES', 'LIMIT', 0, ARGV[1])
for at = 1, #due, 2 do
  local id = due[at]
  local packed = redis.call('HGET', events, id)
  if packed and not redis.call('HGET', sent, id) then
    local event = cmsgpack.unpack(packed)
    if event[1] ~= '' and time - due[at + 1] > tonumber(event[1]) then
      dropped = dropped + 1
    else
      local entry = redis.pcall('XADD', stream, '*', unpack(event, 2))
      -- What came before it has moved, and it waits on.
      if type(entry) == 'table' then return entry end
      mark(sent, sent_times, id, entry, time)
    end
  end
  redis.call('ZREM', times, id)
  redis.call('HDEL', events, id)
end
local following = redis.call('ZRANGE', times, 0, 0, 'WITHSCORES')[2]
return {#due / 2, dropped, following and math.max(0, following - time) or -1}
