-- enter(ask), leave(id, ask): the queue of its kind. grant(id, ask): it has a lease from now on, GRANTED names it.
-- give_back(id, n): its lease, or its place in the queue, unless they belong to a later asking than n.
local GRANTED = {}
local function place(id, ask)
  redis.call('ZADD', queue_of(ask.kind), string.format('%.0f', (TOP - level_of(ask)) * LEVEL + ask.tag), member_of(id, ask))
  local gained = math.floor((NOW - ask.at) / A.ageing)
  if level_of(ask) < TOP then redis.call('ZADD', AGEING, ask.at + (gained + 1) * A.ageing, id)
  else redis.call('ZREM', AGEING, id) end
end
local function enter(id, ask)
  redis.call('HSET', ASKS, id, cjson.encode(ask))
  redis.call('SADD', KINDS, ask.kind)
  count(ask.class, 1)
  place(id, ask)
end
local function leave(id, ask)
  redis.call('HDEL', ASKS, id)
  redis.call('ZREM', AGEING, id)
  redis.call('ZREM', queue_of(ask.kind), member_of(id, ask))
  if redis.call('EXISTS', queue_of(ask.kind)) == 0 then redis.call('SREM', KINDS, ask.kind) end
  count(ask.class, -1)
end
local function grant(id, ask)
  leave(id, ask)
  for _, item in ipairs(demand(ask.kind).takes) do
    take(item.name, item.amount)
    if item.shared then waited(item.name, NOW - ask.at) end
  end
  for _, rate in ipairs(demand(ask.kind).rates) do take_token(rate) end
  VIRTUAL = math.max(VIRTUAL, ask.tag)
  ask.granted = NOW
  redis.call('HSET', LEASES, id, cjson.encode(ask))
  redis.call('ZADD', LOOKS, NOW + A.look, id)
  GRANTED[#GRANTED + 1] = {id, ask.n}
end
local function give_back(id, n)
  local text = redis.call('HGET', LEASES, id)
  local lease = text and cjson.decode(text)
  if lease and lease.n <= n then
    redis.call('HDEL', LEASES, id)
    redis.call('ZREM', LOOKS, id)
    for _, item in ipairs(demand(lease.kind).takes) do take(item.name, -item.amount) end
    charge(lease, math.floor(lease.rate * (NOW - lease.granted) / 1e6) - lease.cost)
  end
  text = redis.call('HGET', ASKS, id)
  local ask = text and cjson.decode(text)
  if ask and ask.n <= n then
    leave(id, ask)
    charge(ask, -ask.cost)
  end
end
