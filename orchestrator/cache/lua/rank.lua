-- rank(id, entry, hits, stores): the entry was used; hits and stores of its family, this time included. Its place among
-- those that may be given up is: clock + worth x frequency x hit ratio, each as far as A.boost says, and the time of
-- its last use among equals. The clock is the score of what was given up last, so that old merits fade.
-- keep_keys(): all keys of the cache outlive its entries, and not for ever.
local function rank(id, e, hits, stores)
  local before = member(id, e)
  e.tick = redis.call('HINCRBY', STATE, 'tick', 1)
  local score = 0
  if A.boost then
    score = e.worth
    if A.boost.frequency then score = score * e.frequency end
    if A.boost.ratio then score = score * ((hits + 1) / (hits + stores + 1)) end
    score = score + tonumber(redis.call('HGET', STATE, 'clock') or 0)
  end
  redis.call('ZADD', ORDER, float(score), member(id, e))
  redis.call('ZREM', ORDER, before) -- not earlier: a key that were empty for a moment would lose its expiry
  if e.slide > 0 then e.ends = NOW + e.slide end
  if e.ends > 0 then redis.call('ZADD', ENDS, float(e.ends), id) end
  redis.call('HSET', ENTRIES, id, string.format('%d %d %d %s %s %s %s %s %s', e.tick, e.size, e.frequency,
    float(e.worth), float(e.cost), float(e.stored), float(e.ends), float(e.slide), e.family))
end

local function keep_keys(lifetime)
  local left = redis.call('TTL', VALUES)
  for _, key in ipairs({VALUES, ENTRIES, ORDER, ENDS, FAMILIES, STATE}) do
    if lifetime == 0 then redis.call('PERSIST', key)
    elseif left < lifetime * 1.5 then redis.call('EXPIRE', key, math.ceil(lifetime * 2)) end
  end
end
