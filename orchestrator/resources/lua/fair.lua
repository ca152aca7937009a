-- Weighted fair sharing (start-time fair queueing): each fairness key has a time of its own, up to which it has been
-- served, and that of all who wait moves with whoever is granted. tag(ask): its place; a part costs the largest share of
-- a pool that it takes, for as long as it is expected to, over the weight of its key.
-- charge(key, more): what it really took. waited(pool, ms): a histogram in powers of two.
local function rate_of(kind, weight)
  local share = 0
  for _, item in ipairs(demand(kind).takes) do
    if item.shared and item.most > 0 then share = math.max(share, math.floor(item.amount * 1e6 / item.most)) end
  end
  return math.max(1, math.floor(share / weight))
end
local function charge(key, more)
  local served = math.max(VIRTUAL, tonumber(redis.call('ZSCORE', FAIR, key) or 0)) + more
  redis.call('ZADD', FAIR, string.format('%.0f', served), key)
  return served
end
local function tag(ask)
  ask.tag = charge(ask.key, 0)
  for _, part in ipairs(ask.parts) do
    part.rate = rate_of(part.kind, ask.weight)
    part.cost = math.max(1, math.floor(part.rate * part.ms / 1e6))
    charge(ask.key, part.cost)
  end
end
local function waited(name, ms)
  local bucket = ms <= 0 and 0 or math.max(0, math.ceil(math.log(ms) / math.log(2)))
  redis.call('HINCRBY', WAITS, name .. ' ' .. math.min(bucket, 32), 1)
  redis.call('HINCRBY', WAITS, name .. ' sum', ms)
end
