-- hand_over(step, def, spec, message, run_state) -> whether a process that waits (see waits.lua) has got this step, which was
-- just queued, and is begun for it. The one that has waited least is asked: others may go back to Celery. message: of the
-- step as a member of a chord, else ''. Nothing that is as urgent, or more, may wait in the queues that it serves.
local NOBODY

local function who_waits(queue)
  if NOBODY == nil then NOBODY = redis.call('EXISTS', WAITING) == 0 end
  local found = NOBODY and {} or redis.call('ZREVRANGE', WAITING .. ':' .. queue, 0, 0, 'WITHSCORES')
  if found[1] and tonumber(found[2]) > NOW then return found[1], redis.call('HGET', WAITING, found[1]) end
  if not found[1] then return end
  local dead = redis.call('ZRANGE', WAITING .. ':' .. queue, 0, -1) -- all of them: their processes were killed
  for _, one in ipairs(dead) do redis.call('HDEL', WAITING, one) end
  redis.call('DEL', WAITING .. ':' .. queue)
end

local function hand_over(node, def, spec, message, run_state)
  if NOBODY or is_lane(node) or spec.expand then return false end
  local who, text = who_waits(MAIL.queue .. spec.queue)
  local by = text and cjson.decode(text)
  if not by or (spec.learned or 0) > by.seconds then return false end
  if redis.call('EXISTS', unpack(lists(by.queues, MAIL.levels[spec.priority + 1]))) > 0 then return false end
  no_longer_waits(who, by.queues)
  if SCHEDULED[node] then not_due('schedule:' .. node) end
  local found = take(node, by, run_state, def, spec)
  found[8], found[9] = message, RUN_ID
  redis.call('RPUSH', 'orc:given:' .. who, cjson.encode(found))
  redis.call('EXPIRE', 'orc:given:' .. who, 60)
  return true
end
