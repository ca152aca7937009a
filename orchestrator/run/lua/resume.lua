-- A paused run goes on: its clocks too, and what is ready is queued. -> {'refused', state} or reply(run state)
local f = redis.call('HMGET', META, 'state', 'finished_at', 'started_at', 'held')
if not f[1] or f[2] or f[1] == 'cancelling' then return {'refused', f[1] or 'unknown'} end
if f[1] ~= 'paused' then return reply(f[1]) end
local state = waits_for_a_person() and 'awaiting_input' or f[3] and 'running' or 'pending'
move_run(state)
redis.call('HDEL', META, 'held')
event('run', '', state)
if f[4] then due_at('run:', tonumber(f[4])) end
for _, node in ipairs(redis.call('HKEYS', DEFS)) do
  local s = redis.call('HMGET', step_key(node), 'state', 'held', 'held_timeout')
  if s[2] then
    redis.call('HDEL', step_key(node), 'held')
    if not CLASS[s[1]] then set_deadline(node, tonumber(s[2])) end
  end
  if s[3] then
    redis.call('HDEL', step_key(node), 'held_timeout')
    if s[1] == 'running' then due_at('timeout:' .. node, tonumber(s[3])) end
  end
  if s[1] == 'ready' and state ~= 'awaiting_input' then make_ready(node) end
end
return reply(state)
