-- Whether a message is short enough. In UTF-16 units, as JavaScript counts: one per character, one more beyond the basic plane.
local function fits(body, maxsize)
  if #body <= maxsize then return true end
  local _, characters = string.gsub(body, '[^\128-\191]', '')
  local _, beyond = string.gsub(body, '[\240-\247]', '')
  return characters + beyond <= maxsize
end

