-- consider(node, queue): whether a node may start, has to wait, or ends without running, now that something it waits for
-- has changed. What follows from it goes to `queue`, as {node, outcome}.
local function consider(node, queue)
  local f = redis.call('HMGET', step_key(node), 'kind', 'rule', 'need', 'ok', 'bad', 'skip', 'gate', 'turns', unpack(READY))
  if f[15] ~= 'pending' then return end
  local need, ok, bad, skip = tonumber(f[3]), tonumber(f[4] or 0), tonumber(f[5] or 0), tonumber(f[6] or 0)
  local say = verdict(f[2], need, ok, bad, skip)
  if say == 'wait' and f[8] then return take_turn(node, f[8], queue, consider) end
  if say == 'wait' or (say == 'run' and f[7]) then return end
  if f[1] == 'barrier' then
    redis.call('HSET', step_key(node), 'state', 'joined', 'joined_at', STAMP)
    due_at('joined:' .. node, A.joined or 2)
    JOINED[#JOINED + 1] = node
  elseif f[1] == 'gate' then
    redis.call('HSET', step_key(node), 'state', 'open')
    queue[#queue + 1] = {node, 'open'}
  elseif say == 'run' then
    make_ready(node, {unpack(f, 9, 18)})
  else
    end_step(node, say)
    event('step', node, say)
    queue[#queue + 1] = {node, say}
  end
end
