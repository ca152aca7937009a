-- end_chunk(held): what A says of the chunk `<stage>:<name>` that the lane holds. next_chunk() -> the name of the next one
-- for A.lane, nil for none: what has waited for another attempt, else the first in line, while the next stage has room.
local function end_chunk(held)
  local x = expansion(A.step)
  redis.call('HINCRBYFLOAT', x, 'seconds', A.seconds or 0)
  if A.state == 'back' then redis.call('LPUSH', x .. ':q:' .. A.stage, A.chunk) end
  if A.state == 'later' then redis.call('ZADD', x .. ':later', string.format('%.6f', NOW + A.delay), held) end
  if A.state ~= 'done' then return end
  redis.call('HDEL', x .. ':in', held)
  redis.call('HDEL', x .. ':part', held)
  if A.ok > 0 and A.last then
    redis.call('HSET', x .. ':out', A.chunk, ARGV[2])
    redis.call('HINCRBY', x, 'bytes', #ARGV[2])
  elseif A.ok > 0 then
    redis.call('HSET', x .. ':in', (A.stage + 1) .. ':' .. A.chunk, ARGV[2])
    push(A.step, A.stage + 1, A.chunk)
  end
  if A.bad > 0 then redis.call('HSET', x .. ':bad', held, ARGV[3]) end
  redis.call('HINCRBY', x, 'open:' .. A.stage, -1)
  if A.chunk == 'all' then return end
  redis.call('HINCRBY', x, 'bad', A.bad)
  redis.call('HINCRBY', x, 'dropped', A.dropped)
  tell_progress(redis.call('HINCRBY', x, 'ended', A.bad + A.dropped + (A.last and A.ok or 0)))
end

local function next_chunk()
  local x = expansion(A.step)
  for _, held in ipairs(redis.call('ZRANGEBYSCORE', x .. ':later', '-inf', STAMP)) do
    local stage, chunk = string.match(held, '^(%d+):(.*)$')
    if tonumber(stage) == A.stage then
      redis.call('ZREM', x .. ':later', held)
      return chunk
    end
  end
  local room = redis.call('HGET', x, 'room:' .. (A.stage + 1))
  if room and redis.call('LLEN', x .. ':q:' .. (A.stage + 1)) >= tonumber(room) then return end
  local chunk = redis.call('LPOP', x .. ':q:' .. A.stage)
  if not chunk then return end
  if A.stage > 0 then return chunk, wake(A.step, A.stage - 1) end
  redis.call('LPUSH', x .. ':room', 1)
  redis.call('LTRIM', x .. ':room', 0, 0)
  return chunk
end
