-- KEYS: the bridge's state. ARGV: who, how long in ms, 0 to give it up. Replies with 1 if it is the active one.
local owner = redis.call('HGET', KEYS[1], 'owner')
if owner and owner ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
  return 0
end
if not owner then redis.call('HSET', KEYS[1], 'owner', ARGV[1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
