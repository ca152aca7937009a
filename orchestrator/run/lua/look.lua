-- A process that has nothing to go on with takes the next message of all runs and begins its step; when there is none, it
-- waits for one. A: by (as in onward.lua), who, nonce, seconds (it waits so long; nil: not at all), now (tests only).
-- -> take() of the step with its message and run; {'waits'}: it may be told at 'orc:given:<who>'; {'over'}: its turn is
-- over, what comes next is for Celery, or it is not to wait.
local A = cjson.decode(ARGV[1])
local by = A.by

local function next_message()
  local every = lists(by.queues, 9)
  if redis.call('EXISTS', unpack(every)) == 0 then return end
  for _, list in ipairs(every) do
    local raw = redis.call('EXISTS', list) == 1 and redis.pcall('LINDEX', list, -1)
    if raw then return list, raw end
  end
end

local function over()
  redis.call('HDEL', 'orc:turns:' .. by.owner, by.head)
  return {'over'}
end

if redis.call('EXISTS', 'orc:given:' .. A.who) == 1 then return {'waits'} end
local run, step = string.match(redis.call('HGET', 'orc:turns:' .. by.owner, by.head) or '', '^(%S+) (%S+) ')
local again = run and in_run({'orc:{' .. run .. '}'}, ARGV).taken_before(step)
if again then return again end
no_longer_waits(A.who, by.queues)
local list, raw = next_message()
if list then
  local at, node = step_of(raw)
  local found = at and in_run({'orc:{' .. at .. '}'}, ARGV).begin(node, by)
  if not found then return over() end
  redis.call('RPOP', list)
  found[8] = raw
  return found
end
if not A.seconds then return over() end
local now = redis.call('TIME')
for _, queue in ipairs(by.queues) do
  redis.call('ZADD', WAITING .. ':' .. queue, (A.now or now[1] + now[2] / 1000000) + A.seconds, A.who)
  redis.call('EXPIRE', WAITING .. ':' .. queue, 3600)
end
redis.call('HSET', WAITING, A.who, cjson.encode(by))
redis.call('EXPIRE', WAITING, 3600)
return {'waits'}
