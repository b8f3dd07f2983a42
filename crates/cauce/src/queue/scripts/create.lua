-- KEYS: hash, registry. ARGV: name, vt, delay, maxsize, mark of the units or ''. Replies with 1, or 0 if the queue exists.
local t = call('TIME')
if call('HSETNX', KEYS[1], 'vt', ARGV[2]) == 0 then return 0 end
call('HSET', KEYS[1], 'delay', ARGV[3], 'maxsize', ARGV[4], 'created', t[1], 'modified', t[1])
if ARGV[5] ~= '' then call('HSET', KEYS[1], 'units', ARGV[5]) end
call('SADD', KEYS[2], ARGV[1])
return 1
