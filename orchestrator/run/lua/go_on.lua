-- go_on(run_state) -> reply(run_state), and as its sixth what take() says of the step that the caller has begun with it:
-- the first one that was released, or that of a message of this run, which is the eighth; see onward.lua. went_on(run_state)
-- -> the same sixth once more, when the call is repeated.
local function next_of_all(run_state)
  local queues = A.on.queues
  local every, others = lists(queues, 9), false
  if redis.call('EXISTS', unpack(every)) == 0 then return end
  for i, list in ipairs(every) do
    if others and (i - 1) % #queues == 0 then return end -- of a lower level
    local raw = redis.pcall('LINDEX', list, -1)
    local run, node = step_of(raw)
    local found = run == RUN_ID and by_message(node, run_state, A.on)
    if found then
      redis.call('RPOP', list)
      found[8] = raw
      return found
    end
    others = others or raw
  end
end

local function went_on(run_state)
  local place = A.on and redis.call('HGET', 'orc:turns:' .. A.on.owner, A.on.head) or ''
  local run, step = string.match(place, '^(%S+) (%S+) ')
  return run == RUN_ID and taken_before(step, run_state) or nil
end

local function go_on(run_state)
  local first = A.on and RELEASED[1]
  local def, spec
  if first then def, spec = may_begin(first, run_state, A.on) end
  local answer, message = reply(run_state, spec and is_next(spec, A.on) and first)
  if message then
    answer[6] = take(first, A.on, run_state, def, spec)
    answer[6][8] = message
  elseif A.on then
    answer[6] = next_of_all(run_state)
  end
  return answer
end
