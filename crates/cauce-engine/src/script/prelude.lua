-- The sandbox: what scripts see of Lua and of the engine.
--
-- Called once with the functions of the host. Tables that all scripts share are shown through empty proxies that
-- refuse to be changed; functions that could reach around a proxy know its contents. Returns the protected view of what
-- scripts have as globals, and the function that runs a script.

local host = ...
local lua = host.lua

local error, select, type, tostring = lua.error, lua.select, lua.type, lua.tostring
local rawget, rawset, next = lua.rawget, lua.rawset, lua.next
local getmetatable, setmetatable = lua.getmetatable, lua.setmetatable
local pcall, xpcall = lua.pcall, lua.xpcall
local byte, gsub, match = lua.string.byte, lua.string.gsub, lua.string.match
local insert = lua.table.insert

local READONLY = "Attempt to modify a readonly table"

-- Proxy -> what it shows, and proxy -> the metatable that scripts see of it.
local contents, shown_metatable = {}, {}

local function protect(shown, metatable)
  local proxy = {}
  contents[proxy], shown_metatable[proxy] = shown, metatable
  setmetatable(proxy, {
    __index = shown,
    __newindex = function() error(READONLY, 2) end,
  })
  return proxy
end

local function copy(t)
  local new = {}
  for key, value in next, t do rawset(new, key, value) end
  return new
end

-- How the messages of C functions begin. Called from here they name neither themselves nor the script's line.
local FIRST_WORDS = {
  attempt = true, bad = true, cannot = true, invalid = true, malformed = true, missing = true, resulting = true,
  string = true, too = true, unable = true, unfinished = true, wrong = true,
}

-- What a C function returned, or its error raised where the script stands. To be called last, as `return finish(...)`.
local function finish(name, ok, ...)
  if ok then return ... end
  local problem = ...
  if type(problem) == "string" and FIRST_WORDS[match(problem, "^%a+")] then
    local named = gsub(problem, "'%?'", "'" .. name .. "'", 1)
    error(named, 3)
  end
  error(problem, 0)
end

-- Errors of the host are objects of its own: scripts catch them as strings and tables.
local function caught(problem)
  if type(problem) == "userdata" then return host.caught(problem) end
  return problem
end

-- Globals.

local G = {}
for _, name in lua.ipairs {
  "_VERSION", "assert", "collectgarbage", "coroutine", "error", "gcinfo", "ipairs", "load", "loadstring", "pairs",
  "rawequal", "select", "tonumber", "tostring", "type", "unpack",
} do
  G[name] = lua[name]
end

G.__redis__err__handler = host.handle_error

local function refuse_table(name, t)
  error("bad argument #1 to '" .. name .. "' (table expected, got " .. type(t) .. ")", 3)
end

function G.pairs(t)
  if type(t) ~= "table" then refuse_table("pairs", t) end
  return next, contents[t] and copy(contents[t]) or t, nil
end

function G.next(t, key)
  return finish("next", pcall(next, t ~= nil and contents[t] or t, key))
end

function G.rawget(t, key)
  if type(t) ~= "table" then refuse_table("rawget", t) end
  return rawget(contents[t] or t, key)
end

function G.rawset(t, key, value)
  if t ~= nil and contents[t] then error(READONLY, 0) end
  return finish("rawset", pcall(rawset, t, key, value))
end

function G.getmetatable(...)
  local t = ...
  if t ~= nil and contents[t] then return shown_metatable[t] end
  return finish("getmetatable", pcall(getmetatable, ...))
end

function G.setmetatable(t, ...)
  if t ~= nil and contents[t] then error(READONLY, 0) end
  return finish("setmetatable", pcall(setmetatable, t, ...))
end

-- Redis hands out the text of an error, not its table.
local function unwrap(ok, problem, ...)
  if ok then return ok, problem, ... end
  problem = caught(problem)
  if type(problem) == "table" then
    local text = problem.err
    if type(text) == "string" or type(text) == "number" then problem = text end
  end
  return false, problem
end

function G.pcall(...) return unwrap(pcall(...)) end

function G.xpcall(f, ...)
  if select("#", ...) == 0 then error("bad argument #2 to 'xpcall' (value expected)", 2) end
  local handler = ...
  return xpcall(f, function(problem) return handler(caught(problem)) end)
end

local coroutine_library = copy(lua.coroutine)
local resume = lua.coroutine.resume

local function resumed(ok, problem, ...)
  if ok then return ok, problem, ... end
  return ok, caught(problem)
end

function coroutine_library.resume(...) return resumed(resume(...)) end

-- Compiled code is not checked when it is loaded: only source is.
local COMPILED = 27
local REFUSED = "attempt to load a compiled chunk: only source can be loaded"

function G.loadstring(chunk, ...)
  if type(chunk) == "string" and byte(chunk, 1) == COMPILED then return nil, REFUSED end
  return lua.loadstring(chunk, ...)
end

function G.load(reader, ...)
  if type(reader) ~= "function" then return lua.load(reader, ...) end
  local begun = false
  return lua.load(function()
    local piece = reader()
    if not begun and type(piece) == "string" and piece ~= "" then
      begun = true
      if byte(piece, 1) == COMPILED then error(REFUSED, 0) end
    end
    return piece
  end, ...)
end

-- What one script switches off would be off for all.
function G.collectgarbage(option, ...)
  if option == "stop" or option == "restart" or option == "setpause" or option == "setstepmul" then return 0 end
  return lua.collectgarbage(option, ...)
end

-- Libraries.

local string_library = copy(lua.string)

-- The matcher recurses for every item of a pattern, on a stack that ends.
local PATTERN_MAX = 1000
local function matching(name)
  local f = lua.string[name]
  string_library[name] = function(text, pattern, ...)
    if type(pattern) == "string" and #pattern > PATTERN_MAX and not host.is_simple_pattern(pattern) then
      error("pattern too complex", 2)
    end
    return finish(name, pcall(f, text, pattern, ...))
  end
end

for _, name in lua.ipairs { "match", "gmatch", "gfind", "gsub" } do matching(name) end

local plain_find = lua.string.find
function string_library.find(text, pattern, init, plain)
  if not plain and type(pattern) == "string" and #pattern > PATTERN_MAX and not host.is_simple_pattern(pattern) then
    error("pattern too complex", 2)
  end
  return finish("find", pcall(plain_find, text, pattern, init, plain))
end

local table_library = copy(lua.table)
function table_library.insert(t, ...)
  if t ~= nil and contents[t] then error(READONLY, 0) end
  return finish("insert", pcall(insert, t, ...))
end

local math_library = copy(lua.math)
math_library.random, math_library.randomseed = host.random, host.randomseed

G.string = protect(string_library)
G.table = protect(table_library)
G.math = protect(math_library)
G.coroutine = protect(coroutine_library)
G.os = protect { clock = lua.os.clock }

G.redis = protect(host.redis)
for name, library in next, host.libraries do G[name] = protect(library) end

-- Methods of strings: looked up in the library itself, shown as something that can't be changed.
local strings = getmetatable("")
strings.__index = string_library
strings.__metatable = protect { __index = G.string }

local global_metatable = {
  __index = function(_, name)
    error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
  end,
}
setmetatable(G, global_metatable)
local globals = protect(G, protect(global_metatable))
G._G = globals

local handle_error = host.handle_error

-- Beside the result: whether it is a table with nothing but a sequence.
local function ended(ok, result)
  if ok and type(result) == "table" then
    local len = #result
    return ok, result, len > 0 and next(result, len) == nil
  end
  return ok, result, false
end

local function run(script, keys, arguments)
  G.KEYS, G.ARGV = keys, arguments
  return ended(xpcall(script, handle_error))
end

return globals, run
