local call, sub = redis.call, string.sub

-- What ids begin with: the microsecond in base 36.
local function prefix(t)
  local us = t[1] * 1000000 + t[2]
  local low = us % 60466176
  us = (us - low) / 60466176
  local function five(n)
    local e = n % 36
    n = (n - e) / 36
    local d = n % 36
    n = (n - d) / 36
    local c = n % 36
    n = (n - c) / 36
    local b = n % 36
    local a = (n - b) / 36
    -- 48 is '0', 97 is 'a'.
    return string.char(a + (a < 10 and 48 or 87), b + (b < 10 and 48 or 87), c + (c < 10 and 48 or 87),
      d + (d < 10 and 48 or 87), e + (e < 10 and 48 or 87))
  end
  return five(us) .. five(low)
end

-- Whether a message is short enough. In UTF-16 units, as JavaScript counts: one per character, one more beyond the basic plane.
local function fits(body, maxsize)
  if #body <= maxsize then return true end
  local _, characters = string.gsub(body, '[^\128-\191]', '')
  local _, beyond = string.gsub(body, '[\240-\247]', '')
  return characters + beyond <= maxsize
end

-- What is wrong with the settings of a queue, if anything; see `Units` for the signs of milliseconds.
local function problem(q, hash, units)
  if not (q[1] and q[2] and q[3]) then return 'queueNotFound' end
  local vt, delay = tonumber(q[1]), tonumber(q[2])
  local foreign = not vt or not delay
  if not foreign and units == 'checked' and (vt >= 1000 or delay >= 1000) then
    foreign = vt > 9999999 or delay > 9999999
    local seen = call('HMGET', hash, 'units', 'totalsent', 'totalrecv')
    if seen[1] ~= 's' then
      foreign = foreign or seen[2] == '0' or seen[3] == '0'
        or ((vt >= 1000 or vt == 0) and vt % 1000 == 0 and delay % 1000 == 0)
    end
  end
  if foreign then return {'foreignUnits', q[1], q[2]} end
end

