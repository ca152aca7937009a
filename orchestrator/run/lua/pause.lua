-- Nothing of the run starts from now on; what runs goes on to its end. What was queued is ready again, and the clocks
-- of the run and of its groups stand still. -> {'refused', state} or as reply()
local f = redis.call('HMGET', META, 'state', 'finished_at', 'doom')
if not f[1] or f[2] or f[3] then return {'refused', f[1] or 'unknown'} end
if f[1] == 'paused' then return {'paused', {}, {}} end
move_run('paused')
event('run', '', 'paused')
local function hold(item, owner)
  local at = redis.call('ZSCORE', DUE, item)
  if not at then return end
  at = redis.call('HGET', owner, 'deadline') or at
  redis.call('HSET', owner, 'held', string.format('%.6f', math.max(0, tonumber(at) - NOW)))
  redis.call('HDEL', owner, 'deadline')
  not_due(item)
end
local function hold_clock(item, step) -- no item of a mapped step starts either
  local at = redis.call('ZSCORE', DUE, item)
  if at then redis.call('HSET', step_key(step), 'held_timeout', string.format('%.6f', math.max(0, tonumber(at) - NOW))) end
  not_due(item)
end
hold('run:', META)
for _, node in ipairs(redis.call('HKEYS', DEFS)) do
  local s = redis.call('HMGET', step_key(node), 'state', 'barrier', 'lanes', 'leased', 'asking')
  hold('barrier:' .. node, step_key(node))
  if s[3] then hold_clock('timeout:' .. node, node) end
  if s[1] == 'queued' then
    redis.call('HSET', step_key(node), 'state', 'ready')
    not_due('queued:' .. node, 'schedule:' .. node)
    if s[2] then redis.call('HDEL', step_key(s[2]), 'header') end -- its chord will never be complete
    event('step', node, 'ready')
  end
  if s[1] == 'queued' or s[1] == 'ready' then end_lease(node, s[4], s[5]) end
end
return {'paused', {}, {}, {}, FREED}
