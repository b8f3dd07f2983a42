-- KEYS: messages, hash. ARGV per message: id, the receive count that it must have or ''. Replies per message with 1, or 0 if it is
-- not there or was received by somebody else since.
if #ARGV == 2 then
  local id = ARGV[1]
  if ARGV[2] ~= '' and ARGV[2] ~= call('HGET', KEYS[2], id .. ':rc') then return {0} end
  local gone = call('ZREM', KEYS[1], id)
  return {call('HDEL', KEYS[2], id, id .. ':rc', id .. ':fr', id .. ':dead', id .. ':trace') > 0 and gone or 0}
end
local ids, fields = {}, {}
for i = 1, #ARGV / 2 do
  local id = ARGV[2 * i - 1]
  ids[i], fields[2 * i - 1], fields[2 * i] = id, id, id .. ':rc'
end
local found = call('HMGET', KEYS[2], unpack(fields))
local scores = call('ZMSCORE', KEYS[1], unpack(ids))
local replies, gone, left, seen = {}, {}, {}, {}
for i, id in ipairs(ids) do
  local fence, n = ARGV[2 * i], #gone
  replies[i] = 0
  if not seen[id] and (fence == '' or fence == found[2 * i]) then
    seen[id] = true
    if scores[i] and found[2 * i - 1] then replies[i] = 1 end
    gone[n + 1] = id
    left[5 * n + 1], left[5 * n + 2], left[5 * n + 3] = id, id .. ':rc', id .. ':fr'
    left[5 * n + 4], left[5 * n + 5] = id .. ':dead', id .. ':trace'
  end
end
if #gone > 0 then
  call('ZREM', KEYS[1], unpack(gone))
  call('HDEL', KEYS[2], unpack(left))
end
return replies
