-- A barrier's decision takes effect, once. A: group node, state ('success' or 'failed'), decision, filled (steps),
-- members; branches: the members whose branches the payload (as in payload.lua) has merged.
-- -> {'refused', state}, {'refused', 'moved'} or reply(run state)
local bk = step_key(A.node)
local state = redis.call('HGET', bk, 'state')
if state ~= 'joined' and not (A.early and state == 'pending') then return {'refused', state or 'unknown'} end
if moved() then return {'refused', 'moved'} end
local filled = {}
for _, step in ipairs(A.filled) do filled[step] = true end
redis.call('HSET', bk, 'outcome', A.state, 'decision', A.decision)
not_due('joined:' .. A.node, 'barrier:' .. A.node)
end_step(A.node, A.state)
event('barrier', A.node, A.state, '', A.decision)
join(A.node)
for _, step in ipairs(A.members) do
  local at = redis.call('HGET', step_key(step), 'state')
  if not CLASS[at] then
    at = 'timed_out'
    not_due('lease:' .. step, 'timeout:' .. step, 'idle:' .. step, 'queued:' .. step, 'retry:' .. step)
    end_step(step, at, 'reason', 'barrier', 'taken', redis.call('HGET', step_key(step), 'token') or '0')
    event('step', step, at, '', 'the barrier moved on')
    unpin(step)
    free_locks(step)
  end
  if CLASS[at] ~= 'ok' then settle(step, filled[step] and 'success' or at) end
end
settle(A.node, A.state)
return reply(close_run())
