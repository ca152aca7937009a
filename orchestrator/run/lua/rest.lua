-- tell_progress(ended): how many items have ended is the step's progress. rest(doomed): a lane lies idle, or is queued
-- again (A.leave), or has a time to wake up; -> whether it was the last one to run while the run is ending.
local function tell_progress(ended)
  local sk, x = step_key(A.step), expansion(A.step)
  local f = redis.call('HMGET', x, 'items', 'closed', 'idle')
  local fraction = f[2] and tonumber(f[1]) > 0 and math.floor(100 * ended / tonumber(f[1])) / 100 or 0
  local said = ended .. ' of ' .. (f[1] or '0') .. (f[2] and ' items' or ' items so far')
  if f[3] and f[3] ~= '' then due_at('idle:' .. A.step, tonumber(f[3])) end
  local before = redis.call('HMGET', sk, 'progress', 'barrier', 'token')
  redis.call('HSET', sk, 'progress', tostring(fraction), 'message', said, 'progress_at', STAMP)
  if before[2] then redis.call('HSET', step_key(before[2]), 'progress_at', STAMP) end
  if tonumber(before[1]) ~= fraction then event('progress', A.step, tostring(fraction), before[3], said) end
end

local function rest(doomed)
  local lk, x = step_key(A.lane), expansion(A.step)
  not_due('lease:' .. A.lane)
  redis.call('HSET', lk, 'state', 'ready')
  if doomed then
    for lane in string.gmatch(redis.call('HGET', step_key(A.step), 'lanes') or '', '%S+') do
      if redis.call('HGET', step_key(lane), 'state') == 'running' then return false end
    end
    return true
  end
  local first = redis.call('ZRANGE', x .. ':later', 0, 0, 'WITHSCORES')
  if A.leave then
    make_ready(A.lane)
  elseif first[1] and state_of_run() == 'running' then
    redis.call('HSET', lk, 'state', 'retrying')
    due_at('retry:' .. A.lane, math.max(0, tonumber(first[2]) - NOW))
  else
    redis.call('SADD', x .. ':idle:' .. A.stage, A.lane)
  end
end
