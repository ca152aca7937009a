-- A step has waited too long for a worker, or does not want to wait. A: step, state, error, reason.
-- -> {'refused', state} or reply(run state)
local sk = step_key(A.step)
local state = redis.call('HGET', sk, 'state')
if state ~= 'queued' and state ~= 'ready' then return {'refused', state or 'unknown'} end
not_due('queued:' .. A.step, 'schedule:' .. A.step)
end_step(A.step, A.state, 'error', A.error, 'reason', A.reason)
event('step', A.step, A.state, redis.call('HGET', sk, 'token'), A.error)
settle(A.step, A.state)
return reply(close_run())
