-- An attempt ends. A: step, token, nonce (the same for a repeated call); state ('success', 'failed', ..., 'retrying'
-- with delay in s); error, reason; executed: by the Celery task itself, whose canvas goes on; apart: of a mapped step;
-- on, release: see onward.lua, release.lua; snapshot: the version it has read; fields: payload as in payload.lua; locks:
-- section -> token, of the locks that it wrote under; marks: as in quality.lua. -> {'refused', state}, {'unlocked',
-- section}, {'conflict', clashes} or go_on(run state). All checks come first; a refused attempt changes nothing but a
-- count.
local sk = step_key(A.step)
local f = redis.call('HMGET', sk, 'state', 'token', 'ending', 'barrier', 'lanes', 'leased', 'asking', 'leaf', 'locks',
  'awaited')
local run_state, doom, total = unpack(redis.call('HMGET', META, 'state', 'doom', 'total'))
if not run_state then return {'refused', 'unknown'} end
STATE, TOTAL = run_state, tonumber(total)
if f[1] and A.nonce and f[3] == A.nonce then -- the first answer was lost on its way
  local answer = reply(run_state)
  answer[6] = went_on(run_state)
  return answer
end
if f[1] ~= 'running' or tonumber(f[2]) ~= A.token then
  redis.call('HINCRBY', META, 'late', 1)
  return {'refused', f[1] or 'unknown'}
end
local state = A.state
if not A.executed and not A.apart then redis.call('HSET', sk, 'taken', f[2]) end
if doom then state = 'cancelled' end
local writes = state == 'success' or state == 'cached'
local lost = writes and lost_lock(A.locks)
if lost then return {'unlocked', lost} end
local found = writes and not f[4] and clashes() or {}
if #found > 0 then return {'conflict', found} end
not_due('lease:' .. A.step, 'timeout:' .. A.step, 'idle:' .. A.step, 'cancel:' .. A.step)
if writes and f[4] then commit_branch(A.step, A.snapshot or 0) elseif writes then commit(A.step, f[2]) end
if writes then keep_marks() end
if f[5] then drop_lanes(A.step, f[5]) end
unpin(A.step)
free_locks(A.step)
if state == 'retrying' then
  redis.call('HSET', sk, 'state', 'retrying', 'error', A.error or '', 'ending', A.nonce or '')
  end_lease(A.step, f[6])
  due_at('retry:' .. A.step, A.delay)
  event('step', A.step, 'retrying', f[2], A.error)
  return reply(run_state)
end
ended(A.step, {f[8], f[9], f[6], f[7]}, state, 'error', A.error or '', 'reason', A.reason or '', 'ending', A.nonce or '')
event('step', A.step, state, f[2], A.error)
settle(A.step, state, {f[4], f[10]})
for _, node in ipairs(A.release and JOINED or {}) do release(node) end -- it may join more
return go_on(close_run())
