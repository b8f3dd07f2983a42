-- Before the scripts that append without an id of the publisher's own.

-- Whether what a stream got in its last minute is all still there, as far as the server can tell: then an event of that time can be looked for in it.
local YOUNG = 60000

local function ms(id)
  return tonumber(string.match(id, '^(%d+)'))
end

local function is_calm(stream)
  local info = redis.pcall('XINFO', 'STREAM', stream)
  if info.err then return 0 end
  local of = {}
  for at = 1, #info, 2 do of[info[at]] = info[at + 1] end
  -- Servers before 7.0 do not say what was deleted.
  local deleted, first = of['max-deleted-entry-id'], of['first-entry']
  if not deleted or not first then return 0 end
  local young = ms(of['last-generated-id']) - YOUNG
  if deleted ~= '0-0' and ms(deleted) >= young then return 0 end
  if of['entries-added'] == of['length'] or ms(first[1]) <= young then return 1 end
  return 0
end

