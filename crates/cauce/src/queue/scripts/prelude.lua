local call = redis.call
local unpack = unpack

-- The server's clock: milliseconds, and microseconds.
local function clock()
  local t = call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000), t[1] * 1000000 + t[2]
end

-- The settings of the queue in milliseconds with one more field of its hash, or what is wrong with the queue.
local function load(hash, units, field)
  local q = call('HMGET', hash, 'vt', 'delay', 'maxsize', field)
  if not (q[1] and q[2] and q[3]) then return nil, 'queueNotFound' end
  local vt, delay = tonumber(q[1]), tonumber(q[2])
  if not vt or not delay then return nil, {'foreignUnits', q[1], q[2]} end
  if units == 'checked' and (vt >= 1000 or delay >= 1000) then
    local seen = call('HMGET', hash, 'units', 'totalsent', 'totalrecv')
    local foreign = vt > 9999999 or delay > 9999999
    if seen[1] ~= 's' then
      foreign = foreign or seen[2] == '0' or seen[3] == '0'
        or ((vt >= 1000 or vt == 0) and vt % 1000 == 0 and delay % 1000 == 0)
    end
    if foreign then return nil, {'foreignUnits', q[1], q[2]} end
  end
  local unit = units == 'ms' and 1 or 1000
  return {vt = vt * unit, delay = delay * unit, maxsize = tonumber(q[3]) or -1, field = tonumber(q[4]) or 0}
end

