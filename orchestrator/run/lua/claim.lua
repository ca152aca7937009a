-- A worker takes a queued step. A: step, worker, owner, pid (of the child), nonce (the same for a repeated call),
-- lease (s). -> {'refused', why} or as take()
local sk = step_key(A.step)
local f = redis.call('HMGET', sk, 'state', 'kind')
local run_state = state_of_run()
if not run_state or f[2] ~= 'step' then return {'refused', 'unknown'} end
if f[1] ~= 'queued' then return taken_before(A.step, run_state) or {'refused', f[1]} end
if run_state == 'paused' or run_state == 'awaiting_input' then
  redis.call('HSET', sk, 'state', 'ready')
  redis.call('HDEL', sk, 'leased') -- it asks again
  not_due('queued:' .. A.step)
  event('step', A.step, 'ready')
  return {'refused', run_state}
end
not_due('queued:' .. A.step, 'schedule:' .. A.step)
return take(A.step, A, run_state)
