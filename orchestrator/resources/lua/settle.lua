-- settle(): whoever fits is granted a lease, in the order of policy.decide; A.most at a time. The first of each kind
-- stands for its queue. One that has waited longer than `ageing` and does not fit keeps what it lacks from all behind it.
local function head_of(kind)
  local first = redis.call('ZRANGE', queue_of(kind), 0, 0, 'WITHSCORES')
  if not first[1] then return nil end
  local id = string.sub(first[1], 17)
  return {kind = kind, id = id, member = first[1], score = tonumber(first[2]),
    ask = cjson.decode(redis.call('HGET', ASKS, id))}
end
local function lacking(kind)
  local short = {}
  for _, item in ipairs(demand(kind).takes) do
    if used(item.name) + item.amount > item.most then short[#short + 1] = item.name end
  end
  for _, rate in ipairs(demand(kind).rates) do
    if next_token(rate) > 0 then short[#short + 1] = rate.name end
  end
  return short
end
local function kept_from(kind, kept)
  for _, part in ipairs({'takes', 'rates'}) do
    for _, item in ipairs(demand(kind)[part]) do
      if kept[item.name] then return true end
    end
  end
end
local function next_one(heads)
  local kept = {}
  for at, head in ipairs(heads) do
    local short = lacking(head.kind)
    if short[1] then
      if NOW - head.ask.at >= A.ageing then for _, name in ipairs(short) do kept[name] = true end end
    elseif not kept_from(head.kind, kept) then
      return at, head
    end
  end
end
local function settle()
  local heads = {}
  for _, kind in ipairs(redis.call('SMEMBERS', KINDS)) do heads[#heads + 1] = head_of(kind) end
  for _ = 1, A.most do
    table.sort(heads, function(a, b) return a.score < b.score or (a.score == b.score and a.member < b.member) end)
    local at, head = next_one(heads)
    if not at then break end
    grant(head.id, head.ask)
    table.remove(heads, at)
    heads[#heads + 1] = head_of(head.kind)
  end
end
