-- ask_for_all(row of A.asks): whoever of it has neither a lease nor a place gets in line. AGAIN: who has a lease already;
-- CONFLICTS: asks that met others under the limit that they bring along, and do not want to wait for them.
local CONFLICTS, AGAIN = {}, {}
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
local function known(one) -- whether a part has a lease or a place; its number is the newest from then on
  local text = redis.call('HGET', LEASES, one.id)
  local lease = text and cjson.decode(text)
  if lease then
    lease.n = math.max(lease.n, one.n)
    redis.call('HSET', LEASES, one.id, cjson.encode(lease))
    if lease.n == one.n then AGAIN[#AGAIN + 1] = {one.id, one.n} end
    return true
  end
  local at, ask = find(one.id)
  if not ask then return false end
  for _, part in ipairs(ask.parts) do if part.id == one.id then part.n = math.max(part.n, one.n) end end
  redis.call('HSET', ASKS, at, cjson.encode(ask))
  return true
end
local function wait_for(id, kind, parts, one)
  local ask = {kind = kind, parts = parts, priority = one.priority, key = one.key, weight = one.weight, at = NOW}
  tag(ask)
  enter(id, ask)
end
local function ask_for_all(one)
  local fresh = {}
  for _, part in ipairs(one.parts) do if not known(part) then fresh[#fresh + 1] = part end end
  local met = one.conflict and full(one.kind) and not redis.call('HGET', LEASES, one.id)
  if met then CONFLICTS[#CONFLICTS + 1] = {one.id, one.parts[1].n, holders(one.kind)} end
  if #fresh == #one.parts and not (met and one.conflict == 'skip') then
    wait_for(one.id, one.kind, fresh, one)
  elseif #fresh < #one.parts then -- of those who came together some have one: the others ask for themselves
    for _, part in ipairs(fresh) do wait_for(part.id, part.kind, {part}, one) end
  end
end
