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
  local now = info()
  local v = now.floor
  local function stays() return v + 1 > version - A.keep and now.bytes <= A.keep_bytes end
  if stays() then return end -- most often, and then nobody's pins matter
  local pinned = tonumber(redis.call('ZRANGE', PINS, 0, 0, 'WITHSCORES')[2] or version)
  local last = math.min(version - 1, v + AT_ONCE, pinned)
  while v < last and not stays() do
    v = v + 1
    local entry = redis.call('XRANGE', VERSIONS, v .. '-0', v .. '-0')[1]
    if entry then forget(v, cjson.decode(entry[2][#entry[2]])) end
    redis.call('XDEL', VERSIONS, v .. '-0')
    redis.call('HSET', INFO, 'floor', v)
    now.floor = v
  end
end

local function record(author, attempt, changes)
  local now = info()
  local version = now.version
  if #changes == 0 then return version end
  local text = cjson.encode(changes)
  local hash = redis.sha1hex(now.hash .. text)
  redis.call('HSET', INFO, 'version', version + 1, 'hash', hash)
  now.version, now.hash = version + 1, hash
  redis.call('XADD', VERSIONS, (version + 1) .. '-0', 'parent', version, 'author', author, 'attempt', attempt,
    'at', STAMP, 'hash', hash, 'changes', text)
  prune(version + 1)
  return version + 1
end
