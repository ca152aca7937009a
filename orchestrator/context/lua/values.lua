-- Values of a run's context, each kept once: BLOBS hash -> packed text, REFS hash -> how many heads, old versions,
-- branches and conflicts hold it. INFO: newest version, its hash, oldest readable version (floor), bytes of all values.
local BLOBS, REFS, INFO = P .. ':ctx:blobs', P .. ':ctx:refs', P .. ':ctx:info'
local NONE = '-' -- the hash of a field that has no value

local function hold(hash, packed) -- one more reference; the packed text is needed when the value is new
  if hash == NONE or redis.call('HINCRBY', REFS, hash, 1) > 1 then return end
  redis.call('HSET', BLOBS, hash, packed)
  redis.call('HINCRBY', INFO, 'bytes', #packed)
end

local function drop(hash)
  if hash == NONE or redis.call('HINCRBY', REFS, hash, -1) > 0 then return end
  redis.call('HINCRBY', INFO, 'bytes', -redis.call('HSTRLEN', BLOBS, hash))
  redis.call('HDEL', BLOBS, hash)
  redis.call('HDEL', REFS, hash)
end

local function newest() return tonumber(redis.call('HGET', INFO, 'version') or 0) end
