-- Replaces a dead letter by one with other fields; its new id, or nil if it is gone.
-- KEYS: dead letters
-- ARGV: the letter's id, then fields and values of the new one
if not redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1] then return false end
local id = redis.call('XADD', KEYS[1], '*', unpack(ARGV, 2))
redis.call('XDEL', KEYS[1], ARGV[1])
return id
