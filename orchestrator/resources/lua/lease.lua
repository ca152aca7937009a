-- grant(id, ask): each of its parts has a lease from now on, GRANTED names it. give_back(id, n): a part's lease, or its
-- place, unless they belong to a later asking than n; who was to get a lease together with it waits alone from then on.
local GRANTED = {}
local function grant(id, ask)
  leave(id, ask)
  VIRTUAL = math.max(VIRTUAL, ask.tag)
  for _, part in ipairs(ask.parts) do
    for _, item in ipairs(demand(part.kind).takes) do
      take(item.name, item.amount)
      if item.shared then waited(item.name, NOW - ask.at) end
    end
    for _, rate in ipairs(demand(part.kind).rates) do take_token(rate) end
    part.key, part.granted = ask.key, NOW
    redis.call('HSET', LEASES, part.id, cjson.encode(part))
    redis.call('ZADD', LOOKS, NOW + A.look, part.id)
    GRANTED[#GRANTED + 1] = {part.id, part.n}
  end
end
local function give_back(id, n)
  local text = redis.call('HGET', LEASES, id)
  local lease = text and cjson.decode(text)
  if lease and lease.n <= n then
    redis.call('HDEL', LEASES, id)
    redis.call('ZREM', LOOKS, id)
    for _, item in ipairs(demand(lease.kind).takes) do take(item.name, -item.amount) end
    charge(lease.key, math.floor(lease.rate * (NOW - lease.granted) / 1e6) - lease.cost)
  end
  local at, ask = find(id)
  local all, left = ask and ask.parts or {}, {}
  for _, part in ipairs(all) do if part.id ~= id or part.n > n then left[#left + 1] = part end end
  if #left == #all then return end
  leave(at, ask)
  for _, part in ipairs(all) do if part.id == id then charge(ask.key, -part.cost) end end
  for _, part in ipairs(left) do
    ask.kind, ask.parts = part.kind, {part}
    enter(part.id, ask)
  end
end
