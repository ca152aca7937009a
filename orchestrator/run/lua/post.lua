-- post(spec, message) -> whether it is in its queue's list. Among the messages of its run that were put there last, the step
-- with the longest way to the end comes first; those of other runs keep their turn.
local IN_LINE = 16 -- so many of them are compared
local LAST = {} -- rank of a list's last message, where this script has put it there

local function rank_of(raw)
  if type(raw) ~= 'string' or not string.find(raw, RUN_ID, 1, true) then return end
  local run, node = step_of(raw)
  local def = run == RUN_ID and redis.call('HGET', DEFS, node)
  return def and cjson.decode(def).rank
end

local function overtakes(list, rank) -- the message behind which it would be too late
  local found
  for at = 0, IN_LINE - 1 do
    local raw = redis.pcall('LINDEX', list, at)
    local other = rank_of(raw)
    if not other or other >= rank then break end
    found = raw
  end
  return found
end

local function post(spec, message)
  local level = MAIL.levels[spec.priority + 1]
  local list = MAIL.queue .. spec.queue .. (level > 0 and MAIL.separator .. level or '')
  local rank = spec.rank or 0
  local slower = rank > (LAST[list] or 0) and overtakes(list, rank)
  if slower then return redis.call('LINSERT', list, 'AFTER', slower, message) > 0 end
  LAST[list] = rank
  return type(redis.pcall('LPUSH', list, message)) == 'number'
end
