-- A mapped step S works on its items in lanes: nodes `S/<attempt>.<stage>.<number>` that are queued, claimed and leased
-- as steps are, take one chunk after another, and are gone with the end of S's attempt. What it has is under `:x:S`
-- (keys.py). push(S, stage, chunk): a chunk waits at a stage; wake(S, stage): an idle lane is queued for it.
-- drop_lanes(S, lanes): S's attempt ends.
local function expansion(step, part) return P .. ':x:' .. step .. (part or '') end

local function wake(step, stage)
  if redis.call('LLEN', expansion(step, ':q:' .. stage)) == 0 then return end
  while true do
    local lane = redis.call('SPOP', expansion(step, ':idle:' .. stage))
    if not lane then return end
    if redis.call('HGET', step_key(lane), 'state') == 'ready' then return make_ready(lane) end
  end
end

local function push(step, stage, chunk)
  redis.call('RPUSH', expansion(step, ':q:' .. stage), chunk)
  redis.call('HINCRBY', expansion(step), 'open:' .. stage, 1)
  wake(step, stage)
end

local function drop_lanes(step, lanes)
  for lane, stage in string.gmatch(lanes, '(%S+%.(%d+)%.%d+)') do
    local f = redis.call('HMGET', step_key(lane), 'chunk', 'state', 'token')
    if f[1] and f[1] ~= 'all' then redis.call('LPUSH', expansion(step, ':q:' .. stage), f[1]) end
    not_due('lease:' .. lane, 'queued:' .. lane, 'retry:' .. lane, 'cancel:' .. lane)
    redis.call('DEL', step_key(lane), expansion(step, ':idle:' .. stage))
    if f[2] == 'running' then -- its worker ends the process
      redis.call('HSET', step_key(lane), 'state', 'cancelled', 'token', f[3], 'taken', f[3])
      redis.call('EXPIRE', step_key(lane), 600)
    end
    redis.call('HDEL', DEFS, lane)
  end
  redis.call('HDEL', step_key(step), 'lanes')
  not_due('gather:' .. step, 'feed:' .. step)
end
