-- The run is to end before its time. A: state it will end in ('cancelled', 'timed_out', 'failed'), reason, grace (s) for
-- steps that are running. -> {'refused', state} or as reply()
local state = state_of_run()
if not state or redis.call('HEXISTS', META, 'finished_at') == 1 then return {'refused', state or 'unknown'} end
if redis.call('HGET', META, 'doom') then return {state, {}, {}} end
move_run('cancelling', 'doom', A.state, 'reason', A.reason)
not_due('run:')
event('run', '', 'cancelling', '', A.reason)
for _, node in ipairs(redis.call('HKEYS', DEFS)) do
  local f = redis.call('HMGET', step_key(node), 'state', 'kind', 'finished_at')
  if f[1] == 'running' then
    due_at('cancel:' .. node, A.grace)
  elseif f[2] ~= 'gate' and not f[3] then
    not_due('queued:' .. node, 'schedule:' .. node, 'retry:' .. node, 'joined:' .. node, 'barrier:' .. node)
    end_step(node, 'cancelled')
    event('step', node, 'cancelled')
  end
end
store_locks()
return {close_run(), {}, {}, {}, FREED}
