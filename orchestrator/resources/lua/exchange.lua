-- Leases go back, steps ask for theirs, and whoever fits now gets one. A: returned: {id, n}; asks: {id, kind, priority,
-- key, weight, conflict, parts: {id, n, kind, ms, class}}; look (ms): when a lease is looked at next; looks: how many of
-- those due are named. A part that asks again keeps its place, or the lease that it has. Returns
-- {{id, n} of each that has a lease now, {id, n} of leases to look at, {id, holders} of asks that met a conflict}.
local LEVELS = 1000 -- that rise in one call
for _, one in ipairs(A.returned) do give_back(one[1], one[2]) end
for _, one in ipairs(A.asks) do ask_for_all(one) end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', AGEING, '-inf', NOW, 'LIMIT', 0, LEVELS)) do
  place(id, cjson.decode(redis.call('HGET', ASKS, id)))
end
settle()
