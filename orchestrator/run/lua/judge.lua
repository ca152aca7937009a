-- A barrier's decision takes effect, once. A: group node, state ('success' or 'failed'), action, decision (why), filled
-- (steps), impact (of what was filled: 'low', 'medium' or 'high'), marks (as in quality.lua), members; branches: the
-- members whose branches the payload (as in payload.lua) has merged; on and nonce: see onward.lua. -> {'refused',
-- state}, {'refused', 'moved'} or go_on(run state)
local bk = step_key(A.node)
local f = redis.call('HMGET', bk, 'state', 'deadline', 'header')
if f[1] ~= 'joined' and not (A.early and f[1] == 'pending') then
  local going = went_on(state_of_run())
  return going and {state_of_run(), {}, {}, {}, {}, going} or {'refused', f[1] or 'unknown'}
end
if unseen() or moved() then return {'refused', 'moved'} end
local filled = {}
for _, step in ipairs(A.filled) do
  filled[step] = true
  redis.call('HSET', step_key(step), 'quality_impact', A.impact)
  mark_quality(A.impact)
end
decided(A.node, A.state, f[2], A.action, A.decision, A.filled, A.impact)
join(A.node)
keep_marks()
for _, step in ipairs(A.members) do
  local at = redis.call('HGET', step_key(step), 'state')
  if not CLASS[at] then
    at = 'timed_out'
    withdraw(step)
    end_step(step, at, 'reason', 'barrier')
    event('step', step, at, '', 'the barrier moved on')
  end
  if CLASS[at] ~= 'ok' then settle(step, filled[step] and 'success' or at) end
end
let_go(A.node, A.state, f[3])
return go_on(close_run())
