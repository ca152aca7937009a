-- Whether a run may be submitted now: in the queue of each of its agent classes there is room, counting the messages that
-- wait, the steps that wait for pools, and what others are about to release, who have asked before. KEYS[1]: prefix of
-- the pools' keys. ARGV[1]: JSON; id; seconds that a promise holds; classes: {name, most, own (steps that it releases at
-- once), depth (nil: lists are here), lists}. -> {} or {class, how many wait}
local P, A, t = KEYS[1], cjson.decode(ARGV[1]), redis.call('TIME')
local now, promised = tonumber(t[1]), {}
for id, text in pairs((function()
  local found, flat = {}, redis.call('HGETALL', P .. ':entering')
  for at = 1, #flat, 2 do found[flat[at]] = flat[at + 1] end
  return found
end)()) do
  local promise = cjson.decode(text)
  if promise.at + A.seconds < now then redis.call('HDEL', P .. ':entering', id) else
    for name, own in pairs(promise.own) do promised[name] = (promised[name] or 0) + own end
  end
end
local mine = {at = now, own = {}}
for _, class in ipairs(A.classes) do
  local waits = class.depth or 0
  for _, list in ipairs(class.lists or {}) do waits = waits + redis.call('LLEN', list) end
  waits = waits + tonumber(redis.call('HGET', P .. ':classes', class.name) or 0) + (promised[class.name] or 0)
  if waits >= class.most then return {class.name, waits} end
  if class.own > 0 then mine.own[class.name] = class.own end
end
redis.call('HSET', P .. ':entering', A.id, cjson.encode(mine))
return {}
