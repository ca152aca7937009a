-- Weighted fair sharing (start-time fair queueing): each fairness key has a time of its own, up to which it has been
-- served, and that of all who wait moves with whoever is granted. tag_of(ask, seconds in ms): its place; its cost is
-- the largest share of a pool that it takes, for as long as it is expected to, over its weight.
-- charge(ask, more): what it really took. waited(pool, ms): a histogram in powers of two.
local function rate_of(ask)
  local share = 0
  for _, item in ipairs(demand(ask.kind).takes) do
    if item.shared and item.most > 0 then share = math.max(share, math.floor(item.amount * 1e6 / item.most)) end
  end
  return math.max(1, math.floor(share / ask.weight))
end
local function tag(ask)
  ask.rate = rate_of(ask)
  ask.cost = math.max(1, math.floor(ask.rate * ask.ms / 1e6))
  ask.tag = math.max(VIRTUAL, tonumber(redis.call('ZSCORE', FAIR, ask.key) or 0))
  redis.call('ZADD', FAIR, string.format('%.0f', ask.tag + ask.cost), ask.key)
end
local function charge(ask, more)
  local served = math.max(VIRTUAL, tonumber(redis.call('ZSCORE', FAIR, ask.key) or 0)) + more
  redis.call('ZADD', FAIR, string.format('%.0f', served), ask.key)
end
local function waited(name, ms)
  local bucket = ms <= 0 and 0 or math.max(0, math.ceil(math.log(ms) / math.log(2)))
  redis.call('HINCRBY', WAITS, name .. ' ' .. math.min(bucket, 32), 1)
  redis.call('HINCRBY', WAITS, name .. ' sum', ms)
end
