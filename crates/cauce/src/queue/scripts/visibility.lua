-- KEYS: messages, hash. ARGV: units, then per message: id, visibility timeout from now in ms, the receive count that it must have
-- or '', 1 = the receipt does not count. Replies per message with 1, or 0 if it is not there or was received by somebody else since.
local wrong = problem(call('HMGET', KEYS[2], 'vt', 'delay', 'maxsize'), KEYS[2], ARGV[1])
if wrong then return wrong end
local t = call('TIME')
local now = t[1] * 1000 + (t[2] - t[2] % 1000) / 1000
local ids, counts = {}, {}
for i = 2, #ARGV, 4 do
  ids[#ids + 1] = ARGV[i]
  counts[#counts + 1] = ARGV[i] .. ':rc'
end
local scores = call('ZMSCORE', KEYS[1], unpack(ids))
counts = call('HMGET', KEYS[2], unpack(counts))
local replies, changed = {}, {}
for i, id in ipairs(ids) do
  local at = 4 * i - 2
  local fence = ARGV[at + 2]
  replies[i] = 0
  if scores[i] and (fence == '' or fence == counts[i]) then
    replies[i] = 1
    changed[#changed + 1] = now + ARGV[at + 1]
    changed[#changed + 1] = id
    if ARGV[at + 3] == '1' and call('HINCRBY', KEYS[2], id .. ':rc', -1) <= 0 then
      call('HDEL', KEYS[2], id .. ':rc', id .. ':fr')
    end
  end
end
if #changed > 0 then call('ZADD', KEYS[1], unpack(changed)) end
return replies
