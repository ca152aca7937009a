-- Processes that have ended a turn and wait for the next step of any run. 'orc:waiting': who -> what take() needs of it,
-- with its queues and seconds (a step that is known to take longer has a message of its own); 'orc:waiting:<queue>':
-- until when each waits there; 'orc:given:<who>': what it was given.
-- lists(queues, most) -> the lists of these queues' messages, most urgent first, up to that level. step_of(message) -> run,
-- step; nothing for a message that is not ours. no_longer_waits(who, queues) -> 1 when it has, 0 when it was given something.
local WAITING, OURS_BYTES = 'orc:waiting', 16384
local function lists(queues, most)
  local found = {}
  for level = 0, most do
    for _, queue in ipairs(queues) do
      found[#found + 1] = queue .. (level > 0 and MAIL.separator .. level or '')
    end
  end
  return found
end

local function step_of(raw)
  local whole, message = pcall(cjson.decode, type(raw) == 'string' and #raw < OURS_BYTES and raw or '')
  local headers = whole and type(message) == 'table' and type(message.headers) == 'table' and message.headers
  if headers and headers.task == MAIL.task then return string.match(tostring(headers.id), '^([^.]+)%.(.+)$') end
end

local function no_longer_waits(who, queues)
  for _, queue in ipairs(queues) do redis.call('ZREM', WAITING .. ':' .. queue, who) end
  return redis.call('HDEL', WAITING, who)
end
