-- What every script of the pools begins with. KEYS[1]: prefix of their keys. ARGV[1]: JSON; capacity: pool ->
-- thousandths; ageing (ms); `now` (ms) replaces the server's clock (tests only). Kinds of demand: see demand.py.
local P = KEYS[1]
local A = cjson.decode(ARGV[1])
local LEASES, ASKS, KINDS, USED, GANGS = P .. ':leases', P .. ':asks', P .. ':kinds', P .. ':used', P .. ':gangs'
local FAIR, AGEING, LOOKS, CLASSES, WAITS = P .. ':fair', P .. ':ageing', P .. ':looks', P .. ':classes', P .. ':waits'
local TOP, LEVEL = 10, 1e14 -- a queue is sorted by (TOP - level) * LEVEL + tag
local NOW = A.now
if not NOW then
  local t = redis.call('TIME')
  NOW = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end
local BEFORE = tonumber(redis.call('GET', P .. ':virtual') or 0)
local VIRTUAL = BEFORE
local PARSED, CACHED = {}, {}
local function demand(kind)
  if not PARSED[kind] then
    local found = {takes = {}, rates = {}}
    for name, amount, limit in string.gmatch(kind, '(%S+)=(%d+)/?(%d*)') do
      local into = string.sub(name, 1, 1) == '@' and found.rates or found.takes
      into[#into + 1] = {name = name, amount = tonumber(amount), most = tonumber(limit) or A.capacity[name] or 0,
        shared = limit == ''}
    end
    PARSED[kind] = found
  end
  return PARSED[kind]
end
local function used(name)
  if not CACHED[name] then CACHED[name] = tonumber(redis.call('HGET', USED, name) or 0) end
  return CACHED[name]
end
local function take(name, amount)
  CACHED[name] = redis.call('HINCRBY', USED, name, amount)
  if CACHED[name] <= 0 then redis.call('HDEL', USED, name) end
end
local function count(class, by)
  if redis.call('HINCRBY', CLASSES, class, by) <= 0 then redis.call('HDEL', CLASSES, class) end
end
local function level_of(ask) return math.min(TOP, ask.priority + math.floor((NOW - ask.at) / A.ageing)) end
local function member_of(id, ask) return string.format('%015.0f ', ask.at) .. id end -- first come, first served
local function queue_of(kind) return P .. ':wait:' .. kind end
