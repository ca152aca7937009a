-- The main line of a run's context. HEAD: field -> '<version>:<hash>:<mark>'. What it replaces goes to PAST, ordered by
-- field and version. A field is '<section>.<key>', or a bare section whose document is empty.
local HEAD, PAST, FIELDS = P .. ':ctx:head', P .. ':ctx:past', P .. ':ctx:fields'
local VERSIONS, NAMES, PINS = P .. ':ctx:versions', P .. ':ctx:names', P .. ':ctx:pins'

local function parsed(text)
  local version, hash, mark = string.match(text or '0:-:', '^(%d+):([^:]+):(.*)$')
  return tonumber(version), hash, mark
end

local function past_key(field, version) return string.format('%s\0%015d', field, version) end

local function value_at(field, version) -- -> version, hash, mark of the latest value that is not newer
  local v, hash, mark = parsed(redis.call('HGET', HEAD, field) or nil)
  if v <= version then return v, hash, mark end
  local found = redis.call('ZREVRANGEBYLEX', PAST, '[' .. past_key(field, version) .. '\255',
    '[' .. field .. '\0', 'LIMIT', 0, 1)[1]
  if not found then return 0, NONE, '' end
  return parsed(string.sub(found, #field + 2))
end

local function readable(version) -- whether every value of that version is still there
  if version > newest() then return false end
  return version >= info().floor
    or #redis.call('ZRANGEBYSCORE', NAMES, version, version, 'LIMIT', 0, 1) > 0
end

local function put(changes, version, field, hash, packed, mark) -- a field gets a value, unless it has it already
  local v, was, marked = parsed(redis.call('HGET', HEAD, field) or nil)
  if was == hash and marked == mark then return end
  hold(hash, packed)
  if v == 0 then redis.call('ZADD', FIELDS, 0, field)
  else redis.call('ZADD', PAST, 0, past_key(field, v) .. ':' .. was .. ':' .. marked) end
  redis.call('HSET', HEAD, field, string.format('%d:%s:%s', version, hash, mark))
  changes[#changes + 1] = {field, v, was, hash, marked, mark}
end

local function own(step, field) return field == step or string.sub(field, 1, #step + 1) == step .. '.' end
