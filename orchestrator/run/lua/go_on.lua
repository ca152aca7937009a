-- go_on(run_state) -> reply(run_state), and as its sixth what take() says of the step that the caller has begun with it;
-- see onward.lua. went_on(run_state) -> the same sixth once more, when the call is repeated.
local function next_of_all(run_state)
  local every, others = lists(9), false
  if redis.call('EXISTS', unpack(every)) == 0 then return end
  for i, list in ipairs(every) do
    if others and (i - 1) % #A.on.queues == 0 then return end -- of a lower level
    local waits = redis.call('EXISTS', list) == 1
    for _, pop in ipairs(waits and {'RPOP', 'LPOP'} or {}) do -- the oldest one, or what has just been sent
      local raw = redis.pcall('LINDEX', list, pop == 'RPOP' and -1 or 0)
      local node = type(raw) == 'string' and step_of(raw)
      if node and may_begin(node, run_state) then
        redis.call(pop, list)
        local found = begin(node, run_state)
        found[8] = raw
        return found
      end
    end
    others = others or waits
  end
end

local function went_on(run_state)
  local node = A.on and redis.call('HGET', step_key(A.on.head), 'onward')
  return node and taken_before(node, run_state) or nil
end

local function go_on(run_state)
  local going = A.on and released_alone(run_state)
  local answer = reply(run_state)
  answer[6] = going or (A.on and next_of_all(run_state)) or nil
  return answer
end
