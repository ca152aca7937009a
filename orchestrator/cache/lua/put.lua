-- Keep a value. A: id, family, worth, cost (s), lifetime (s; 0: for ever), slides: every use begins it anew; limit
-- (bytes), beside (bytes): what an entry takes beside its id and value; owner: who has computed it; unasked: nobody has looked. ARGV[2]: the value.
-- -> {'kept' or 'too large', how many others were given up for it}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', ENDS, '-inf', float(NOW), 'LIMIT', 0, 1000)) do
  remove(id, entry_of(id))
  count('expired')
end
if A.unasked then count('misses') end
local before = entry_of(A.id)
if before then remove(A.id, before) end
local size = #A.id + #ARGV[2] + A.beside
if size > A.limit then
  count('too_large')
  done(A.id, A.owner)
  return {'too large', 0}
end
local evicted = 0
while tonumber(redis.call('HGET', STATE, 'bytes') or 0) + size > A.limit do
  local first = redis.call('ZRANGE', ORDER, 0, 0, 'WITHSCORES')
  if not first[1] then break end
  local id = string.sub(first[1], 18)
  redis.call('HSET', STATE, 'clock', first[2])
  remove(id, entry_of(id))
  evicted = evicted + 1
end
count('evicted', evicted)
local entries, hits, stores = family_of(A.family)
redis.call('HSET', FAMILIES, A.family, string.format('%d %d %d', entries + 1, hits, stores + 1))
redis.call('HSET', VALUES, A.id, ARGV[2])
count('bytes', size)
count('stores')
rank(A.id, {tick = 0, size = size, frequency = 1, worth = A.worth, cost = A.cost, stored = NOW,
  ends = A.lifetime > 0 and NOW + A.lifetime or 0, slide = A.slides and A.lifetime or 0, family = A.family},
  hits, stores + 1)
keep_keys(A.lifetime)
done(A.id, A.owner)
return {'kept', evicted}
