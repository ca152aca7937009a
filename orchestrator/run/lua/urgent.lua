-- text_of(node) -> its definition as text, read once. sort_released(): the most urgent of the released steps comes first;
-- those that are as urgent stay in their order.
local TEXT_OF, SORTED = {}, 1
local function text_of(node)
  TEXT_OF[node] = TEXT_OF[node] or redis.call('HGET', DEFS, node)
  return TEXT_OF[node]
end

local function sort_released()
  if #RELEASED <= SORTED then return end
  local place = {}
  for i, node in ipairs(RELEASED) do
    place[node] = i - #RELEASED * tonumber(string.match(text_of(node) or '', '"priority":(%d+)') or 0)
  end
  table.sort(RELEASED, function(one, other) return place[one] < place[other] end)
  SORTED = #RELEASED
end
