-- KEYS: messages, hash. ARGV per message: id, the receive count that it must have or ''. Replies per message with 1, or 0 if it is
-- not there or was received by somebody else since.
if #ARGV == 2 then
  local id, fence = ARGV[1], ARGV[2]
  local rc = id .. ':rc'
  if fence ~= '' and fence ~= call('HGET', KEYS[2], rc) then return {0} end
  local gone = call('ZREM', KEYS[1], id)
  return {call('HDEL', KEYS[2], id, rc, id .. ':fr', id .. ':dead', id .. ':trace') > 0 and gone or 0}
end
local argv, names, is_fenced = ARGV, {'extras'}, false
for i = 1, #argv, 2 do
  names[#names + 1] = argv[i] .. ':rc'
  is_fenced = is_fenced or argv[i + 1] ~= ''
end
local found = is_fenced and call('HMGET', KEYS[2], unpack(names)) or {call('HGET', KEYS[2], 'extras')}
local extras = found[1]
local replies, gone, left, places, n = {}, {}, {}, {}, 0
for i = 1, #argv / 2 do
  local id, fence = argv[2 * i - 1], argv[2 * i]
  replies[i] = 0
  if not places[id] and (fence == '' or fence == found[i + 1]) then
    replies[i], places[id], n = 1, i, n + 1
    gone[n] = id
    left[3 * n - 2], left[3 * n - 1], left[3 * n] = id, names[i + 1], id .. ':fr'
  end
end
if n == 0 then return replies end
if call('ZREM', KEYS[1], unpack(gone)) < n then
  -- Those were there whose bodies are.
  local bodies = call('HMGET', KEYS[2], unpack(gone))
  for i = 1, n do
    if not bodies[i] then replies[places[gone[i]]] = 0 end
  end
end
call('HDEL', KEYS[2], unpack(left))
if extras then
  for i = 1, n do
    left[2 * i - 1], left[2 * i] = gone[i] .. ':dead', gone[i] .. ':trace'
  end
  call('HDEL', KEYS[2], unpack(left, 1, 2 * n))
end
return replies
