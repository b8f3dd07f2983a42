-- KEYS: messages, hash. ARGV: units, 1 = all or none, realtime channel or '', 1 = delays are given, 1 = traces are given, the bytes of the longest
-- body, then per message 22 random characters (sorted) and its body, per message its delay in ms or '', and per message its traceparent or
-- ''. Replies with what the ids begin with, and the places of the messages that are too long; all or none: {'messageTooLong', place}.
local q = call('HMGET', KEYS[2], 'vt', 'delay', 'maxsize', 'totalsent')
-- Short numbers need no doubt.
if not q[1] or not q[2] or not q[3] or #q[1] > 3 or #q[2] > 3 then
  local wrong = problem(q, KEYS[2], ARGV[1])
  if wrong then return wrong end
end
local t = call('TIME')
local now = t[1] * 1000 + (t[2] - t[2] % 1000) / 1000
-- Times and totals go to commands as texts: numbers are written in a slow way.
local format = string.format
local usual = format('%d', now + q[2] * (ARGV[1] == 'ms' and 1 or 1000))

-- The ids share the microsecond, in base 36; the sorted rest keeps the order of the messages.
local prefix = prefix(t)
local argv, scores = ARGV, {}
local given, traced = argv[4] == '1', argv[5] == '1'
local maxsize = tonumber(q[3])
if maxsize < 0 then maxsize = math.huge end

if not given and not traced and tonumber(argv[6]) <= maxsize then
  -- Nothing to be looked at one by one: ids and bodies go on as they came.
  for i = 7, #argv, 2 do
    local id = prefix .. argv[i]
    argv[i], scores[i - 6], scores[i - 5] = id, usual, id
  end
  local sent = #scores / 2
  call('ZADD', KEYS[1], unpack(scores))
  call('HSET', KEYS[2], 'totalsent', format('%d', (q[4] or 0) + sent), unpack(argv, 7))
  if argv[3] ~= '' then
    local size = call('ZCARD', KEYS[1])
    for i = size - sent + 1, size do call('PUBLISH', argv[3], i) end
  end
  return {prefix}
end

local count = (#argv - 6) / (2 + (given and 1 or 0) + (traced and 1 or 0))
local reply, fields, traces, sent = {prefix}, {}, {'extras', '1'}, 0
for i = 1, count do
  local body = argv[6 + 2 * i]
  if fits(body, maxsize) then
    local id, delay = prefix .. argv[5 + 2 * i], given and argv[6 + 2 * count + i] or ''
    scores[2 * sent + 1], scores[2 * sent + 2] = delay == '' and usual or format('%d', now + delay), id
    fields[2 * sent + 1], fields[2 * sent + 2] = id, body
    sent = sent + 1
    local trace = traced and argv[6 + (given and 3 or 2) * count + i] or ''
    if trace ~= '' then traces[#traces + 1] = id .. ':trace' traces[#traces + 1] = trace end
  elseif argv[2] == '1' then
    return {'messageTooLong', i - 1}
  else
    reply[#reply + 1] = i - 1
  end
end
if sent > 0 then
  call('ZADD', KEYS[1], unpack(scores))
  call('HSET', KEYS[2], 'totalsent', format('%d', (q[4] or 0) + sent), unpack(fields))
  if argv[3] ~= '' then
    local size = call('ZCARD', KEYS[1])
    for i = size - sent + 1, size do call('PUBLISH', argv[3], i) end
  end
end
if #traces > 2 then
  call('HSET', KEYS[2], unpack(traces))
  -- RSMQ's clients leave the traces of what they delete behind: when there are many, some are looked through at each send.
  if call('HLEN', KEYS[2]) > 5 * call('ZCARD', KEYS[1]) + 1000 then
    local page = call('HSCAN', KEYS[2], call('HGET', KEYS[2], 'swept') or '0', 'MATCH', '*:trace', 'COUNT', '500')
    for i = 1, #page[2], 2 do
      if not call('ZSCORE', KEYS[1], sub(page[2][i], 1, -7)) then call('HDEL', KEYS[2], page[2][i]) end
    end
    call('HSET', KEYS[2], 'swept', page[1])
  end
end
return reply
