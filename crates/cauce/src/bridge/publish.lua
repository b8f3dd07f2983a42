-- KEYS: the stream. ARGV: group, consumer, how many, channel, then the actions that are wanted, none for all. Replies with how many were
-- read, and how many of them published.
local wanted = {}
for i = 5, #ARGV do wanted[ARGV[i]] = true end
local read = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', ARGV[3], 'NOACK', 'STREAMS', KEYS[1], '>')
if not read or not read[1] then return {0, 0} end
local published = 0
for _, entry in ipairs(read[1][2]) do
  local fields = {}
  for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
  if #ARGV < 5 or wanted[fields.action or ''] then
    redis.call('PUBLISH', ARGV[4], fields.data or cjson.encode(fields))
    published = published + 1
  end
end
return {#read[1][2], published}
