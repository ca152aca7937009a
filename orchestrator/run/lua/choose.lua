-- choose() -> the nodes that begin anew, as a set, or nil and why there are none. A: step, or failed, or neither for
-- the whole run. Everything that comes after a chosen step is chosen too; good steps before and beside it stay.
-- ended: whether the run has; a sequential one has to, or a step would begin anew beside the one whose turn it is.
local function behind(first, ended)
  local chosen, at = {}, 1
  for _, node in ipairs(first) do chosen[node] = true end
  while first[at] do
    for consumer in string.gmatch(redis.call('HGET', EDGES, first[at]) or '', '%S+') do
      if not chosen[consumer] and string.sub(consumer, 1, 1) ~= '^' then -- a gate that has opened stays open
        chosen[consumer] = true
        first[#first + 1] = consumer
      end
    end
    at = at + 1
  end
  for _, node in ipairs(redis.call('HKEYS', DEFS)) do -- in a sequential run each waits for its turn again
    if string.sub(node, 1, 2) == '^^' then
      if not ended then return nil, 'taking turns' end
      chosen[node] = true
    end
  end
  return chosen
end

local function choose(ended)
  local first = {}
  if A.step then
    local f = redis.call('HMGET', step_key(A.step), 'kind', 'state', 'rule', 'need', 'ok', 'bad', 'skip')
    if f[1] ~= 'step' then return nil, 'unknown step' end
    if not CLASS[f[2]] then return nil, f[2] end
    local say = verdict(f[3], tonumber(f[4]), tonumber(f[5] or 0), tonumber(f[6] or 0), tonumber(f[7] or 0))
    if say ~= 'run' then return nil, 'blocked' end
    return behind({A.step}, ended)
  end
  if not A.failed and not ended then return nil, 'going on' end
  for _, node in ipairs(redis.call('HKEYS', DEFS)) do
    if not A.failed or CLASS[redis.call('HGET', step_key(node), 'state')] == 'bad' then first[#first + 1] = node end
  end
  if not first[1] then return nil, 'nothing failed' end
  return behind(first, ended)
end
