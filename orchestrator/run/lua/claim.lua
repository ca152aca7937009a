-- A worker takes a queued step. A: step, worker, owner, pid (of the child), nonce (the same for a repeated call),
-- lease (s).
-- -> {'refused', why} or {'ok', token, definition, now, state of the run, version of the context to read, branches}
local sk = step_key(A.step)
local f = redis.call('HMGET', sk, 'state', 'kind', 'nonce', 'token', 'started_at')
local run_state = redis.call('HGET', META, 'state')
if not run_state or f[2] ~= 'step' then return {'refused', 'unknown'} end
if f[1] == 'running' and A.nonce and f[3] == A.nonce then -- the answer to the first call was lost on its way
  local def = redis.call('HGET', DEFS, A.step)
  return {'ok', tonumber(f[4]), def, f[5], run_state, snapshot(A.step, cjson.decode(def))}
end
if f[1] ~= 'queued' then return {'refused', f[1]} end
if run_state == 'paused' or run_state == 'awaiting_input' then
  redis.call('HSET', sk, 'state', 'ready')
  redis.call('HDEL', sk, 'leased') -- it asks again
  not_due('queued:' .. A.step)
  event('step', A.step, 'ready')
  return {'refused', run_state}
end
local def = redis.call('HGET', DEFS, A.step)
local spec = cjson.decode(def)
local token = redis.call('HINCRBY', sk, 'token', 1)
redis.call('HSET', sk, 'state', 'running', 'worker', A.worker, 'owner', A.owner, 'pid', A.pid or 0,
  'nonce', A.nonce or '', 'started_at', STAMP)
redis.call('HDEL', sk, 'progress', 'message', 'progress_at')
not_due('queued:' .. A.step, 'schedule:' .. A.step)
due_at('lease:' .. A.step, A.lease)
if spec.timeout then due_at('timeout:' .. A.step, spec.timeout) end
if spec.idle_timeout then due_at('idle:' .. A.step, spec.idle_timeout) end
if run_state == 'pending' then
  redis.call('HSET', META, 'state', 'running', 'started_at', STAMP)
  event('run', '', 'running')
end
local barrier = redis.call('HGET', sk, 'barrier')
if barrier and redis.call('HSETNX', step_key(barrier), 'started_at', STAMP) == 1 and spec.barrier_timeout then
  set_deadline(barrier, spec.barrier_timeout)
end
event('step', A.step, 'running', token, A.worker)
return {'ok', token, def, STAMP, run_state, snapshot(A.step, spec)}
