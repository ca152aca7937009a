-- What follows from the end of a node: who has arrived is recorded (never how many), and whoever may start is
-- queued. RELEASED collects steps that the caller has to publish, BARRIER_OF their barriers, JOINED those that the caller
-- has to judge. They are due as queued from `reply` on. The context's part of locks that workflows declare comes before
-- this: admit, free_locks, ADMITTED, store_locks. make_ready(node, f): a step may start; f: READY of it, for whoever has
-- just read that.
local RELEASED, JOINED, BARRIER_OF = {}, {}, {}
local SCHEDULED = {} -- nodes that may not wait for ever, and were given that clock
local READY = {'carried', 'token', 'schedule', 'locks', 'group_locks', 'barrier', 'state', 'pools', 'leased', 'asking'}

local function make_ready(node, f)
  f = f or redis.call('HMGET', step_key(node), unpack(READY))
  local run_state = state_of_run()
  local held = run_state == 'paused' or run_state == 'awaiting_input'
  if f[3] and not held then
    redis.call('ZADD', DUE, 'NX', string.format('%.6f', NOW + f[3]), 'schedule:' .. node)
    SCHEDULED[node] = true
  end
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
  event('step', node, 'queued', f[2])
  if MAIL or not (f[1] and A.executed) then
    RELEASED[#RELEASED + 1], BARRIER_OF[node] = node, f[6]
  else
    due_at('queued:' .. node, A.lost or 10)
  end
end
