-- Values of a run's context, each kept once: BLOBS hash -> packed text, REFS hash -> how many heads, old versions,
-- branches and conflicts hold it. INFO: newest version, its hash, oldest readable version (floor), bytes of all values.
local BLOBS, REFS, INFO = P .. ':ctx:blobs', P .. ':ctx:refs', P .. ':ctx:info'
local NONE = '-' -- the hash of a field that has no value
local KNOWN -- INFO as this script has read it, and changed it since
local function info()
  if not KNOWN then
    local f = redis.call('HMGET', INFO, 'version', 'hash', 'floor', 'bytes')
    KNOWN = {version = tonumber(f[1] or 0), hash = f[2] or '', floor = tonumber(f[3] or 0), bytes = tonumber(f[4] or 0)}
  end
  return KNOWN
end
local function newest() return info().version end
local function weigh(bytes) -- so many more bytes of values are kept
  local all = redis.call('HINCRBY', INFO, 'bytes', bytes)
  if KNOWN then KNOWN.bytes = all end
end

local function hold(hash, packed) -- one more reference; the packed text is needed when the value is new
  if hash == NONE or redis.call('HINCRBY', REFS, hash, 1) > 1 then return end
  redis.call('HSET', BLOBS, hash, packed)
  weigh(#packed)
end

local function drop(hash)
  if hash == NONE or redis.call('HINCRBY', REFS, hash, -1) > 0 then return end
  weigh(-redis.call('HSTRLEN', BLOBS, hash))
  redis.call('HDEL', BLOBS, hash)
  redis.call('HDEL', REFS, hash)
end
