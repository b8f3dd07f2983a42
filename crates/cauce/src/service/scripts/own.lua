-- Makes this consumer the group's reader of the stream, or renews that; says whether it is.
-- KEYS: reader
-- ARGV: consumer, lease ms ('0': gives it up)
local reader = redis.call('GET', KEYS[1])
if ARGV[2] == '0' then
  if reader == ARGV[1] then redis.call('DEL', KEYS[1]) end
  return 0
end
if reader and reader ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
