-- clashes() -> what somebody else has changed since the writer read it; commit(step, attempt) -> the new version.
local function writer(version) -- -> author, priority, time of a version
  local entry = redis.call('XRANGE', VERSIONS, version .. '-0', version .. '-0')[1]
  if not entry then return '', 0, '0' end
  local def = redis.call('HGET', DEFS, entry[2][4])
  return entry[2][4], def and cjson.decode(def).priority or 0, entry[2][8]
end

local function clashes() -- what the main line changed since it was read: {field, version, author, priority, at, value}
  local found = {}
  for i = 2, LAST_FIELD, 5 do
    local read_at = tonumber(ARGV[i + 1])
    local v, hash = parsed(read_at and redis.call('HGET', HEAD, ARGV[i]) or nil)
    if read_at and v ~= read_at then -- equal values too: two that counted from 5 to 6 make 7
      local author, priority, at = writer(v)
      found[#found + 1] = {ARGV[i], v, author, priority, at, redis.call('HGET', BLOBS, hash) or ''}
    end
  end
  return found
end

local function commit(step, attempt) -- a step outside any group writes to the main line
  local changes = {}
  absorb(newest() + 1)
  put_fields(changes, newest() + 1)
  keep_conflicts()
  keep_files(step)
  return record(step, attempt, changes)
end
