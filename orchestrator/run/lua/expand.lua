-- An attempt of a mapped step has its first chunks in the store: from here on lanes work on them, and it goes on without
-- a process. A: step, token, merge (the stage that merges; nil: none), rooms (how many chunks may wait, by stage), lanes
-- (names), idle (its idle_timeout), again (nil, or that what failed has its second turn), seconds (for that). ARGV[2...]:
-- definitions of the lanes. What failed before is tried again. -> {'refused', state} or {'over' or 'ok', reply(run state)}
local sk, x = step_key(A.step), expansion(A.step)
local f = redis.call('HMGET', sk, 'state', 'token', 'lanes')
local run_state = state_of_run()
if f[1] ~= 'running' or tonumber(f[2]) ~= A.token then return {'refused', f[1] or 'unknown'} end
if A.again and redis.call('HEXISTS', x, 'again') == 1 then return {'refused', 'again'} end
if f[3] and not A.again then return {over(A.step) and 'over' or 'ok', reply(run_state)} end
if f[3] then drop_lanes(A.step, f[3]) end
redis.call('HSET', sk, 'owner', '', 'pid', 0, 'lanes', table.concat(A.lanes, ' '))
redis.call('HSET', META, 'mapped', 1)
not_due('lease:' .. A.step)
if A.seconds then due_at('timeout:' .. A.step, A.seconds) end
redis.call('HDEL', x, 'over', 'merging', 'again')
redis.call('HDEL', x .. ':out', 'all')
redis.call('HSET', x, 'stages', #A.rooms, A.again and 'again' or 'opened_at', STAMP, 'idle', A.idle or '')
if A.merge then redis.call('HSET', x, 'merge', A.merge, 'open:' .. A.merge, 0) end
redis.call('DEL', x .. ':q:' .. (A.merge or ''))
for i, lane in ipairs(A.lanes) do
  redis.call('HSET', DEFS, lane, ARGV[i + 1])
  redis.call('HSET', step_key(lane), 'kind', 'step', 'rule', 'always', 'need', 0, 'state', 'ready')
  redis.call('SADD', x .. ':idle:' .. string.match(lane, '%.(%d+)%.%d+$'), lane)
end
local round = redis.call('HINCRBY', x, 'rounds', 1)
for _, name in ipairs(redis.call('HKEYS', x .. ':bad')) do
  local stage, chunk = string.match(name, '^(%d+):(%d+)')
  if stage then -- a merge that failed comes again by itself
    redis.call('HSET', x .. ':in', stage .. ':' .. chunk .. '~' .. round, redis.call('HGET', x .. ':bad', name))
    push(A.step, stage, chunk .. '~' .. round)
  end
end
redis.call('HINCRBY', x, 'ended', -tonumber(redis.call('HGET', x, 'bad') or 0))
redis.call('HSET', x, 'bad', 0)
for _, name in ipairs(redis.call('ZRANGE', x .. ':later', 0, -1)) do
  redis.call('RPUSH', x .. ':q:' .. string.match(name, '^(%d+)'), string.match(name, ':(.*)$'))
end
redis.call('DEL', x .. ':bad', x .. ':later')
for i, room in ipairs(A.rooms) do
  redis.call('HSET', x, 'room:' .. (i - 1), room)
  for _ = 1, redis.call('LLEN', x .. ':q:' .. (i - 1)) do wake(A.step, i - 1) end
end
return {over(A.step) and 'over' or 'ok', reply(run_state)}
