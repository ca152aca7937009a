-- What follows from the end of a node: who has arrived is recorded (never how many), and whoever may start is
-- queued. RELEASED collects steps that the caller has to publish, JOINED barriers that the caller has to judge.
local RELEASED, JOINED = {}, {}

local function make_ready(node)
  local f = redis.call('HMGET', step_key(node), 'carried', 'token', 'schedule')
  local run_state = redis.call('HGET', META, 'state')
  if run_state == 'paused' or run_state == 'awaiting_input' then
    redis.call('HSET', step_key(node), 'state', 'ready')
    event('step', node, 'ready')
    return
  end
  redis.call('HSET', step_key(node), 'state', 'queued', 'queued_at', STAMP)
  due_at('queued:' .. node, A.lost or 10)
  if f[3] then due_at('schedule:' .. node, tonumber(f[3])) end
  event('step', node, 'queued', f[2])
  if not (f[1] and A.executed) then RELEASED[#RELEASED + 1] = node end
end

local function end_step(node, state, ...)
  local leaf = redis.call('HGET', step_key(node), 'leaf')
  redis.call('HSET', step_key(node), 'state', state, 'finished_at', STAMP, ...)
  redis.call('HINCRBY', META, 'done', 1)
  if CLASS[state] == 'bad' then
    redis.call('HINCRBY', META, 'bad', 1)
    if leaf then redis.call('HINCRBY', META, 'bad_leaf', 1) end
  end
end
