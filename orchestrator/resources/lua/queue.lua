-- An ask waits in the queue of its kind, with one part for each step that it is about: of several, all get their leases
-- together, or none does. find(part's id) -> id and ask in which it waits, or nil. enter(id, ask), leave(id, ask).
local function find(id)
  local at = redis.call('HGET', GANGS, id) or id
  local text = redis.call('HGET', ASKS, at)
  if text then return at, cjson.decode(text) end
end
local function place(id, ask)
  redis.call('ZADD', queue_of(ask.kind), string.format('%.0f', (TOP - level_of(ask)) * LEVEL + ask.tag), member_of(id, ask))
  local gained = math.floor((NOW - ask.at) / A.ageing)
  if level_of(ask) < TOP then redis.call('ZADD', AGEING, ask.at + (gained + 1) * A.ageing, id)
  else redis.call('ZREM', AGEING, id) end
end
local function enter(id, ask)
  redis.call('HSET', ASKS, id, cjson.encode(ask))
  redis.call('SADD', KINDS, ask.kind)
  for _, part in ipairs(ask.parts) do
    count(part.class, 1)
    if part.id ~= id then redis.call('HSET', GANGS, part.id, id) end
  end
  place(id, ask)
end
local function leave(id, ask)
  redis.call('HDEL', ASKS, id)
  redis.call('ZREM', AGEING, id)
  redis.call('ZREM', queue_of(ask.kind), member_of(id, ask))
  if redis.call('EXISTS', queue_of(ask.kind)) == 0 then redis.call('SREM', KINDS, ask.kind) end
  for _, part in ipairs(ask.parts) do
    count(part.class, -1)
    if part.id ~= id then redis.call('HDEL', GANGS, part.id) end
  end
end
