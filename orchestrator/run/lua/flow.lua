-- settle(node, outcome, f): carry the end of a node to everyone who waits for it, and on, until nothing changes. f: its
-- barrier and awaited, for whoever knows them.
local function arrive(consumer, node, outcome, queue)
  if outcome == 'open' and string.sub(consumer, 1, 2) == '^^' then outcome = 'success' end -- the turn before has come
  if outcome == 'open' then
    redis.call('HDEL', step_key(consumer), 'gate')
  elseif redis.call('HSETNX', step_key(consumer), 'in:' .. node, outcome) == 1 then
    redis.call('HINCRBY', step_key(consumer), CLASS[outcome], 1)
  else
    return
  end
  consider(consumer, queue)
end

local function settle(node, outcome, f)
  local queue, at = {{node, outcome}}, 1
  while queue[at] do
    local from, out = queue[at][1], queue[at][2]
    at = at + 1
    f = f or redis.call('HMGET', step_key(from), 'barrier', 'awaited')
    local barrier = f[1]
    if barrier and not f[2] and CLASS[out] ~= 'ok' and redis.call('HGET', step_key(barrier), 'outcome') == false then
      arrive(barrier, from, out, queue) -- its barrier judges first, then others hear; but not when another member waits for it
      for turn in string.gmatch(redis.call('HGET', EDGES, from) or '', '%^%^%S+') do arrive(turn, from, out, queue) end
    else
      for consumer in string.gmatch(redis.call('HGET', EDGES, from) or '', '%S+') do
        arrive(consumer, from, out, queue)
      end
    end
    f = nil
  end
end
