-- reopen(step, heard): a step is taken back, as if it had not run: it waits again, behind a gate, and its attempts are
-- counted anew (their tokens go on). Those who heard of its end forget it, if they still wait or heard(node) says so.
local function reopen(step, heard)
  local sk = step_key(step)
  local f = redis.call('HMGET', sk, 'state', 'token', 'leaf')
  if CLASS[f[1]] then redis.call('HINCRBY', META, 'done', -1) end
  if CLASS[f[1]] == 'bad' then
    redis.call('HINCRBY', META, 'bad', -1)
    if f[3] then redis.call('HINCRBY', META, 'bad_leaf', -1) end
  end
  withdraw(step)
  redis.call('HSET', sk, 'state', 'pending', 'gate', 1, 'spent', f[2] or '0')
  redis.call('HDEL', sk, 'finished_at', 'reason', 'progress', 'message', 'progress_at')
  for consumer in string.gmatch(redis.call('HGET', EDGES, step) or '', '%S+') do
    local ck = step_key(consumer)
    local outcome = redis.call('HGET', ck, 'in:' .. step)
    if outcome and (redis.call('HGET', ck, 'state') == 'pending' or heard(consumer)) then
      redis.call('HDEL', ck, 'in:' .. step)
      redis.call('HINCRBY', ck, CLASS[outcome], -1)
    end
  end
  event('step', step, 'pending', f[2])
end
