-- Gives the stream up for another reader; says whether it was this consumer's.
-- KEYS: reader, owner
-- ARGV: consumer, '1' if nothing can come by its connection any more
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
if ARGV[2] == '1' then redis.call('DEL', KEYS[2]) end
return 1
