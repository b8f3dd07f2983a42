-- KEYS: messages, hash, stream. ARGV: units, realtime channel or '', group, consumer, how many, that many times 22 random characters (sorted),
-- then the actions that are wanted, none for all. Reads with the group and sends, in one step. Replies with how many were read, how
-- many of them sent, and the id of the entry before which it stopped because it is too long for the queue, or ''.
local q = call('HMGET', KEYS[2], 'vt', 'delay', 'maxsize', 'totalsent')
local wrong = problem(q, KEYS[2], ARGV[1])
if wrong then return wrong end
local count, wanted = tonumber(ARGV[5]), {}
for i = 6 + count, #ARGV do wanted[ARGV[i]] = true end
local all = #ARGV < 6 + count
local read = call('XREADGROUP', 'GROUP', ARGV[3], ARGV[4], 'COUNT', count, 'NOACK', 'STREAMS', KEYS[3], '>')
if not read or not read[1] then return {0, 0, ''} end
local t = call('TIME')
local due = t[1] * 1000 + (t[2] - t[2] % 1000) / 1000 + q[2] * (ARGV[1] == 'ms' and 1 or 1000)
local prefix, maxsize = prefix(t), tonumber(q[3])
if maxsize < 0 then maxsize = math.huge end
local scores, bodies, sent, seen, last, stopped, extras = {}, {}, 0, 0, nil, '', nil
for _, entry in ipairs(read[1][2]) do
  local fields = {}
  for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
  if all or wanted[fields.action or ''] then
    local body = fields.data or cjson.encode(fields)
    if not fits(body, maxsize) then
      stopped = entry[1]
      break
    end
    sent = sent + 1
    local id = prefix .. ARGV[5 + sent]
    scores[2 * sent - 1], scores[2 * sent] = due, id
    bodies[#bodies + 1] = id
    bodies[#bodies + 1] = body
    if fields.traceparent then
      bodies[#bodies + 1] = id .. ':trace'
      bodies[#bodies + 1] = fields.traceparent
      extras = true
    end
  end
  seen, last = seen + 1, entry[1]
end
if stopped ~= '' then
  -- The group begins with it again.
  local before = last or call('XREVRANGE', KEYS[3], '(' .. stopped, '-', 'COUNT', 1)
  if type(before) == 'table' then before = before[1] and before[1][1] or '0-0' end
  call('XGROUP', 'SETID', KEYS[3], ARGV[3], before)
end
if sent > 0 then
  call('ZADD', KEYS[1], unpack(scores))
  if extras then
    bodies[#bodies + 1] = 'extras'
    bodies[#bodies + 1] = '1'
  end
  call('HSET', KEYS[2], 'totalsent', (q[4] or 0) + sent, unpack(bodies))
  if ARGV[2] ~= '' then
    local size = call('ZCARD', KEYS[1])
    for i = size - sent + 1, size do call('PUBLISH', ARGV[2], i) end
  end
end
return {seen, sent, stopped}
