-- KEYS: messages, hash. ARGV: units, 1 = vt and delay are both set, then pairs to set: name, value. Replies with the nine attributes.
local wrong = problem(call('HMGET', KEYS[2], 'vt', 'delay', 'maxsize'), KEYS[2], ARGV[1])
-- Setting both is how a queue of foreign units is repaired.
if wrong and (wrong == 'queueNotFound' or ARGV[2] ~= '1') then return wrong end
local t = call('TIME')
if #ARGV > 2 then call('HSET', KEYS[2], 'modified', t[1], unpack(ARGV, 3)) end
local reply = call('HMGET', KEYS[2], 'vt', 'delay', 'maxsize', 'totalrecv', 'totalsent', 'created', 'modified')
reply[8] = call('ZCARD', KEYS[1])
-- To the second, as in RSMQ: what became visible within this second still counts as hidden.
reply[9] = call('ZCOUNT', KEYS[1], t[1] .. '000', '+inf')
return reply
