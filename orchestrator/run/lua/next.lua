-- next_of_all(run_state) -> what take() says of the next step that the caller (A.on, see onward.lua) may begin, with its
-- message and its run: of the messages that are as urgent the first one of this run, else the first of all, if A.on.any.
local function in_other(run) -- that functions for another run may be used in this call
  return in_run({'orc:{' .. run .. '}'}, {cjson.encode({nonce = A.nonce, now = A.now})})
end

local function of_message(list, raw, run_state)
  local run, node = step_of(raw)
  local found
  if run == RUN_ID then found = by_message(node, run_state, A.on)
  elseif run then found = in_other(run).begin(node, A.on) end
  if not found then return end
  redis.call('RPOP', list)
  found[8], found[9] = raw, run
  return found
end

local function next_of_all(run_state)
  local queues = A.on.queues
  local every, others, of_others = lists(queues, 9)
  if redis.call('EXISTS', unpack(every)) == 0 then return end
  for i, list in ipairs(every) do
    if others and (i - 1) % #queues == 0 then break end -- of a lower level
    local raw = redis.pcall('LINDEX', list, -1)
    local found = step_of(raw) == RUN_ID and of_message(list, raw, run_state)
    if found then return found end
    if raw and not others then others, of_others = list, raw end
  end
  return others and A.on.any and of_message(others, of_others, run_state) or nil
end
