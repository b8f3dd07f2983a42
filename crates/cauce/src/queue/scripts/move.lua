-- KEYS: messages and hash of the source, messages and hash of the target, registry. ARGV: units, id, the receive count that it must
-- have or '', what is known of its death or '', name of the target if it is to be made or '', its vt and mark of the units, 1 =
-- receipts are forgotten, realtime channel of the target or ''. Replies with 1, or 0 if the message is not there or was received by
-- somebody else since.
local id, fence = ARGV[2], ARGV[3]
local found = call('HMGET', KEYS[2], id, id .. ':rc', id .. ':fr', id .. ':trace')
if not found[1] or not call('ZSCORE', KEYS[1], id) or (fence ~= '' and fence ~= found[2]) then return 0 end
local t = call('TIME')
local now = t[1] * 1000 + (t[2] - t[2] % 1000) / 1000
if ARGV[5] ~= '' and call('HSETNX', KEYS[4], 'vt', ARGV[6]) == 1 then
  call('HSET', KEYS[4], 'delay', '0', 'maxsize', '-1', 'created', t[1], 'modified', t[1])
  if ARGV[7] ~= '' then call('HSET', KEYS[4], 'units', ARGV[7]) end
  call('SADD', KEYS[5], ARGV[5])
end
local wrong = problem(call('HMGET', KEYS[4], 'vt', 'delay', 'maxsize'), KEYS[4], ARGV[1])
if wrong then return wrong end
call('ZREM', KEYS[1], id)
call('HDEL', KEYS[2], id, id .. ':rc', id .. ':fr', id .. ':dead', id .. ':trace')
call('ZADD', KEYS[3], now, id)
call('HSET', KEYS[4], id, found[1])
if found[4] then call('HSET', KEYS[4], id .. ':trace', found[4], 'extras', '1') end
call('HINCRBY', KEYS[4], 'totalsent', 1)
if ARGV[8] ~= '1' and found[2] then
  call('HSET', KEYS[4], id .. ':rc', found[2], id .. ':fr', found[3] or now)
end
if ARGV[4] ~= '' then
  -- The time of death is the server's: it goes in before the closing brace.
  local death = sub(ARGV[4], 1, -2) .. string.format(',"died_at_ms":%.0f}', now)
  call('HSET', KEYS[4], id .. ':dead', death, 'extras', '1')
end
if ARGV[9] ~= '' then call('PUBLISH', ARGV[9], call('ZCARD', KEYS[3])) end
return 1
