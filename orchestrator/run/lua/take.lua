-- take(step, by, run_state, def, spec) -> {'ok', token, definition, time, state of the run, version of the context to read,
-- branches}: an attempt of a queued step begins; the caller sees to it that it is not due as queued any more. by: worker,
-- owner, pid (of the child), lease (s); head: the id of the task whose message that process was given, when it has gone on
-- to this one. def, spec: its definition, for whoever has read it. A.nonce: of this call.
-- taken_before(step, run_state): the same once more, when this call has taken the step before; nil when it has not.
local function granted(step, token, def, at, run_state, spec)
  return {'ok', token, def, at, run_state, snapshot(step, spec)}
end

local function taken_before(step, run_state)
  local f = redis.call('HMGET', step_key(step), 'state', 'nonce', 'token', 'started_at')
  if f[1] ~= 'running' or not A.nonce or f[2] ~= A.nonce then return end
  local def = redis.call('HGET', DEFS, step)
  return granted(step, tonumber(f[3]), def, f[4], run_state, cjson.decode(def))
end

local function take(step, by, run_state, def, spec)
  local sk, turns = step_key(step), 'orc:turns:' .. by.owner
  def = def or redis.call('HGET', DEFS, step)
  spec = spec or cjson.decode(def)
  local token = redis.call('HINCRBY', sk, 'token', 1)
  redis.call('HSET', sk, 'state', 'running', 'worker', by.worker, 'owner', by.owner, 'pid', by.pid or 0,
    'nonce', A.nonce or '', 'started_at', STAMP)
  if token > 1 then redis.call('HDEL', sk, 'progress', 'message', 'progress_at') end
  if by.head then
    local known = redis.call('HSET', turns, by.head, RUN_ID .. ' ' .. step .. ' ' .. token) == 0
    if not known then redis.call('EXPIRE', turns, 3600) end
  elseif token > 1 then
    redis.call('HDEL', turns, RUN_ID .. '.' .. step)
  end
  due_at('lease:' .. step, by.lease)
  if spec.timeout then due_at('timeout:' .. step, spec.timeout) end
  if spec.idle_timeout then due_at('idle:' .. step, spec.idle_timeout) end
  if run_state == 'pending' and state_of_run() == 'pending' then
    move_run('running', 'started_at', STAMP)
    event('run', '', 'running')
  end
  local barrier = spec.group and redis.call('HGET', sk, 'barrier')
  if barrier and redis.call('HSETNX', step_key(barrier), 'started_at', STAMP) == 1 and spec.barrier_timeout then
    set_deadline(barrier, spec.barrier_timeout)
  end
  event('step', step, 'running', token, by.worker)
  return granted(step, token, def, STAMP, run_state, spec)
end
