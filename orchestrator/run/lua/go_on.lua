-- go_on(run_state) -> reply(run_state), and as its sixth what take() says of the step that the caller has begun with it, with
-- its message and its run: the most urgent one that was released, else that of a message; see next.lua.
-- went_on(run_state) -> the same sixth once more, when the call is repeated.
local function went_on(run_state)
  local place = A.on and redis.call('HGET', 'orc:turns:' .. A.on.owner, A.on.head) or ''
  local run, step = string.match(place, '^(%S+) (%S+) ')
  if not run then return end
  if run ~= RUN_ID then return in_other(run).taken_before(step) end
  local found = taken_before(step, run_state)
  if found then found[8], found[9] = '', run end
  return found
end

local function go_on(run_state)
  sort_released()
  local first = A.on and RELEASED[1]
  local def, spec
  if first then def, spec = may_begin(first, run_state, A.on) end
  local answer, message = reply(run_state, spec and is_next(spec, A.on) and first)
  if message then
    answer[6] = take(first, A.on, run_state, def, spec)
    answer[6][8], answer[6][9] = message, RUN_ID
  elseif A.on then
    answer[6] = next_of_all(run_state)
  end
  return answer
end
