-- KEYS: messages, hash. ARGV: units, 1 = all or none, realtime channel or '', then per message: delay in ms or '', body; at the end
-- per message: 22 random characters, sorted. Replies per message with its id, or '' where it is too long; all or none:
-- {'messageTooLong', place}.
local q, problem = load(KEYS[2], ARGV[1], 'totalsent')
if not q then return problem end
local now, us = clock()

-- The ids share the microsecond; the sorted rest keeps the order of the messages.
local prefix = ''
while us > 0 do
  local digit = us % 36
  prefix = string.sub('0123456789abcdefghijklmnopqrstuvwxyz', digit + 1, digit + 1) .. prefix
  us = (us - digit) / 36
end

-- In UTF-16 units, as JavaScript counts: one per character, one more beyond the basic plane.
local function too_long(body)
  if q.maxsize == -1 or #body <= q.maxsize then return false end
  local _, characters = string.gsub(body, '[^\128-\191]', '')
  local _, beyond = string.gsub(body, '[\240-\247]', '')
  return characters + beyond > q.maxsize
end

local count = (#ARGV - 3) / 3
local ids, scores, fields, sent = {}, {}, {}, 0
for i = 1, count do
  local body = ARGV[2 * i + 3]
  if too_long(body) then
    if ARGV[2] == '1' then return {'messageTooLong', i - 1} end
    ids[i] = ''
  else
    local id = prefix .. ARGV[2 * count + 3 + i]
    ids[i] = id
    scores[2 * sent + 1] = now + (tonumber(ARGV[2 * i + 2]) or q.delay)
    scores[2 * sent + 2] = id
    fields[2 * sent + 1] = id
    fields[2 * sent + 2] = body
    sent = sent + 1
  end
end
if sent > 0 then
  call('ZADD', KEYS[1], unpack(scores))
  call('HSET', KEYS[2], 'totalsent', q.field + sent, unpack(fields))
  if ARGV[3] ~= '' then
    local size = call('ZCARD', KEYS[1])
    for i = size - sent + 1, size do call('PUBLISH', ARGV[3], i) end
  end
end
return ids
