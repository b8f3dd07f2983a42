-- KEYS: messages, hash, registry. ARGV: name. Replies with 1, or 0 if there was no such queue.
local gone = call('DEL', KEYS[2], KEYS[1])
call('SREM', KEYS[3], ARGV[1])
return gone > 0 and 1 or 0
