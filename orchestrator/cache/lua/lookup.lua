-- Look a value up. A: id; max_age (s): an older one does not count; lifetime; to compute it if need be: owner, lease (s).
-- -> {'hit', value, seconds that it cost, its age in s}, {'miss'}, {'build'}: the caller computes it, or {'wait', ms}:
-- somebody else does, and :wake:<owner> gets a word when that has ended; after so long the caller asks again.
local e = entry_of(A.id)
if e and e.ends > 0 and e.ends <= NOW then
  remove(A.id, e)
  count('expired')
  e = nil
end
if e and not (A.max_age and NOW - e.stored > A.max_age) then
  local entries, hits, stores = family_of(e.family)
  redis.call('HSET', FAMILIES, e.family, string.format('%d %d %d', entries, hits + 1, stores))
  e.frequency = e.frequency + 1
  rank(A.id, e, hits + 1, stores)
  keep_keys(A.lifetime)
  count('hits')
  redis.call('HINCRBYFLOAT', STATE, 'saved', float(e.cost))
  return {'hit', redis.call('HGET', VALUES, A.id), float(e.cost), float(NOW - e.stored)}
end
if not A.owner then
  count('misses')
  return {'miss'}
end
local build = P .. ':build:' .. A.id
local builder = redis.call('GET', build)
if not builder or builder == A.owner then
  if not builder then count('misses') end
  redis.call('SET', build, A.owner, 'PX', math.ceil(A.lease * 1000))
  return {'build'}
end
local waits = P .. ':waits:' .. A.id
redis.call('SADD', waits, A.owner)
redis.call('PEXPIRE', waits, math.ceil(A.lease * 20000))
return {'wait', redis.call('PTTL', build)}
