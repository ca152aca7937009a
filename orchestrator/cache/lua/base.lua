-- What every script of a cache begins with. KEYS[1]: prefix of the cache's keys. ARGV[1]: arguments as JSON; `now`
-- among them replaces the server's clock (tests only), `boost` is what policy.py says of priorities. ENTRIES: id ->
-- 'tick size frequency worth cost stored ends slide family'; ORDER: '<tick>:<id>' by score, the lowest goes first.
local P, A = KEYS[1], cjson.decode(ARGV[1])
local VALUES, ENTRIES, ORDER = P .. ':values', P .. ':entries', P .. ':order'
local ENDS, FAMILIES, STATE = P .. ':ends', P .. ':families', P .. ':state'
local NOW = A.now
if not NOW then
  local t = redis.call('TIME')
  NOW = tonumber(t[1]) + tonumber(t[2]) / 1000000
end
local function count(what, by) redis.call('HINCRBY', STATE, what, by or 1) end
local function float(number) return string.format('%.17g', number) end

local function entry_of(id)
  local text = redis.call('HGET', ENTRIES, id)
  if not text then return nil end
  local tick, size, frequency, worth, cost, stored, ends, slide, family =
    string.match(text, '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (.*)$')
  return {tick = tonumber(tick), size = tonumber(size), frequency = tonumber(frequency), worth = tonumber(worth),
    cost = tonumber(cost), stored = tonumber(stored), ends = tonumber(ends), slide = tonumber(slide), family = family}
end

local function member(id, e) return string.format('%016d:%s', e.tick, id) end

local function family_of(name) -- -> entries, hits, stores
  local entries, hits, stores = string.match(redis.call('HGET', FAMILIES, name) or '0 0 0', '^(%d+) (%d+) (%d+)$')
  return tonumber(entries), tonumber(hits), tonumber(stores)
end

local function remove(id, e)
  redis.call('HDEL', VALUES, id)
  redis.call('HDEL', ENTRIES, id)
  redis.call('ZREM', ORDER, member(id, e))
  redis.call('ZREM', ENDS, id)
  count('bytes', -e.size)
  local entries, hits, stores = family_of(e.family)
  if entries <= 1 then redis.call('HDEL', FAMILIES, e.family)
  else redis.call('HSET', FAMILIES, e.family, string.format('%d %d %d', entries - 1, hits, stores)) end
end
