-- A step has waited too long for a worker. A: step, error. -> {'refused', state} or reply(run state)
local sk = step_key(A.step)
local state = redis.call('HGET', sk, 'state')
if state ~= 'queued' and state ~= 'ready' then return {'refused', state or 'unknown'} end
not_due('queued:' .. A.step, 'schedule:' .. A.step)
end_step(A.step, 'timed_out', 'error', A.error, 'reason', 'schedule_timeout')
event('step', A.step, 'timed_out', redis.call('HGET', sk, 'token'), A.error)
settle(A.step, 'timed_out')
return reply(close_run())
