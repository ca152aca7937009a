-- Leases go back, steps ask for theirs, and whoever fits now gets one. A: returned: {id, n}; asks: {id, n, kind,
-- priority, key, weight, ms, class, conflict}; look (ms): when a lease is looked at next; looks: how many of those due
-- are named. An id that asks again keeps its place, or the lease that it has. Returns
-- {{id, n} of each that has a lease now, {id, n} of leases to look at, {id, holders} of asks that met a conflict}.
local LEVELS = 1000 -- that rise in one call
local function holders(kind)
  local found = {}
  local all = redis.call('HGETALL', LEASES)
  for _, item in ipairs(demand(kind).takes) do
    for at = 1, #all, 2 do
      if not item.shared and string.sub(item.name, 1, 4) == 'key:'
        and string.find(cjson.decode(all[at + 1]).kind, item.name .. '=', 1, true) then found[#found + 1] = all[at] end
    end
  end
  return found
end
local function full(kind)
  for _, item in ipairs(demand(kind).takes) do
    if string.sub(item.name, 1, 4) == 'key:' and used(item.name) + item.amount > item.most then return true end
  end
end
for _, one in ipairs(A.returned) do give_back(one[1], one[2]) end
local conflicts, again = {}, {}
for _, one in ipairs(A.asks) do
  local held, waiting = redis.call('HGET', LEASES, one.id), redis.call('HGET', ASKS, one.id)
  local into, before = held and LEASES or ASKS, held or waiting
  if before then
    local ask = cjson.decode(before)
    if ask.n < one.n then ask.n = one.n end
    redis.call('HSET', into, one.id, cjson.encode(ask))
    if held and ask.n == one.n then again[#again + 1] = {one.id, one.n} end
  end
  if not held and one.conflict and full(one.kind) then
    conflicts[#conflicts + 1] = {one.id, one.n, holders(one.kind)}
  end
  if not before and not (one.conflict == 'skip' and full(one.kind)) then
    local id, ask = one.id, {n = one.n, kind = one.kind, priority = one.priority, key = one.key, weight = one.weight,
      ms = one.ms, class = one.class, at = NOW}
    tag(ask)
    enter(id, ask)
  end
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', AGEING, '-inf', NOW, 'LIMIT', 0, LEVELS)) do
  place(id, cjson.decode(redis.call('HGET', ASKS, id)))
end
settle()
