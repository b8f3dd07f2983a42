-- KEYS: messages, hash. ARGV per message: id, the receive count that it must have or ''. Replies per message with 1, or 0 if it is
-- not there or was received by somebody else since.
local ids, fields = {}, {}
for i = 1, #ARGV, 2 do
  ids[#ids + 1] = ARGV[i]
  fields[#fields + 1] = ARGV[i]
  fields[#fields + 1] = ARGV[i] .. ':rc'
end
local found = call('HMGET', KEYS[2], unpack(fields))
local scores = call('ZMSCORE', KEYS[1], unpack(ids))
local replies, gone, left, seen = {}, {}, {}, {}
for i, id in ipairs(ids) do
  local fence = ARGV[2 * i]
  replies[i] = 0
  if not seen[id] and (fence == '' or fence == found[2 * i]) then
    seen[id] = true
    if scores[i] and found[2 * i - 1] then replies[i] = 1 end
    gone[#gone + 1] = id
    left[#left + 1] = id
    left[#left + 1] = id .. ':rc'
    left[#left + 1] = id .. ':fr'
    left[#left + 1] = id .. ':dead'
  end
end
if #gone > 0 then
  call('ZREM', KEYS[1], unpack(gone))
  call('HDEL', KEYS[2], unpack(left))
end
return replies
