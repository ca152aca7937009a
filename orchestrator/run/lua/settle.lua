-- What follows from the end of a node: who has arrived is recorded (never how many), and whoever may start is
-- queued. RELEASED collects steps that the caller has to publish, JOINED barriers that the caller has to judge.
-- The context's part of locks that workflows declare comes before this: admit, free_locks, ADMITTED, store_locks.
local RELEASED, JOINED = {}, {}

local function make_ready(node)
  local f = redis.call('HMGET', step_key(node), 'carried', 'token', 'schedule', 'locks', 'group_locks', 'barrier',
    'state', 'pools', 'leased', 'asking')
  local run_state = redis.call('HGET', META, 'state')
  local held = run_state == 'paused' or run_state == 'awaiting_input'
  if f[3] and not held then redis.call('ZADD', DUE, 'NX', string.format('%.6f', NOW + f[3]), 'schedule:' .. node) end
  local fresh = f[7] == 'pending' or f[7] == 'retrying'
  local stays = held or (f[5] and not admit(f[6], f[5])) or (f[4] and not admit(node, f[4], fresh, f[5] and f[6]))
  if not stays and f[8] and not f[9] then
    stays = true
    ask(node, f[10])
  end
  if stays then
    if f[7] == 'ready' then return end
    redis.call('HSET', step_key(node), 'state', 'ready')
    event('step', node, 'ready')
    return
  end
  redis.call('HSET', step_key(node), 'state', 'queued', 'queued_at', STAMP)
  due_at('queued:' .. node, A.lost or 10)
  event('step', node, 'queued', f[2])
  if MAIL or not (f[1] and A.executed) then RELEASED[#RELEASED + 1] = node end
end

local function end_step(node, state, ...)
  local f = redis.call('HMGET', step_key(node), 'leaf', 'locks', 'leased', 'asking')
  redis.call('HSET', step_key(node), 'state', state, 'finished_at', STAMP, ...)
  if is_lane(node) then return end
  redis.call('HINCRBY', META, 'done', 1)
  if f[2] then free_locks(node) end
  end_lease(node, f[3], f[4])
  if CLASS[state] == 'bad' then
    redis.call('HINCRBY', META, 'bad', 1)
    if f[1] then redis.call('HINCRBY', META, 'bad_leaf', 1) end
  end
end
