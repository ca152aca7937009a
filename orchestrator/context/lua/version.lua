-- record(author, attempt, changes) -> version: what put() changed becomes the next version of the main line, with a
-- record in VERSIONS. Old versions go when there are more than A.keep, or the values take more than A.keep_bytes;
-- never what a running attempt (PINS) or a named snapshot (NAMES) still reads.
local AT_ONCE = 20

local function forget(version, changes) -- the values that this version replaced can be read no longer
  for _, change in ipairs(changes) do
    local field, v, was, marked = change[1], change[2], change[3], change[5]
    if v > 0 and #redis.call('ZRANGEBYSCORE', NAMES, v, version - 1, 'LIMIT', 0, 1) == 0 then
      redis.call('ZREM', PAST, past_key(field, v) .. ':' .. was .. ':' .. marked)
      drop(was)
    end
  end
end

local function prune(version)
  local v = tonumber(redis.call('HGET', INFO, 'floor') or 0)
  local pinned = tonumber(redis.call('ZRANGE', PINS, 0, 0, 'WITHSCORES')[2] or version)
  local last = math.min(version - 1, v + AT_ONCE, pinned)
  while v < last do
    v = v + 1
    if v > version - A.keep and tonumber(redis.call('HGET', INFO, 'bytes') or 0) <= A.keep_bytes then return end
    local entry = redis.call('XRANGE', VERSIONS, v .. '-0', v .. '-0')[1]
    if entry then forget(v, cjson.decode(entry[2][#entry[2]])) end
    redis.call('XDEL', VERSIONS, v .. '-0')
    redis.call('HSET', INFO, 'floor', v)
  end
end

local function record(author, attempt, changes)
  local version = newest()
  if #changes == 0 then return version end
  local text, parent = cjson.encode(changes), redis.call('HGET', INFO, 'hash') or ''
  local hash = redis.sha1hex(parent .. text)
  redis.call('HSET', INFO, 'version', version + 1, 'hash', hash)
  redis.call('XADD', VERSIONS, (version + 1) .. '-0', 'parent', version, 'author', author, 'attempt', attempt,
    'at', STAMP, 'hash', hash, 'changes', text)
  prune(version + 1)
  return version + 1
end
