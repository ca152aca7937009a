-- go_on(run_state) -> reply(run_state), and as its sixth what take() says of the step that the caller has begun with it;
-- see onward.lua. next_of_all(run_state): takes a message of this run, if none is more urgent, and begins its step; the
-- message is the eighth of what take() says. went_on(run_state) -> the same sixth once more, when the call is repeated.
local OURS_BYTES = 16384
local function step_of(raw)
  local whole, message = pcall(cjson.decode, #raw < OURS_BYTES and raw or '')
  local id = whole and type(message) == 'table' and type(message.headers) == 'table' and message.headers.id
  if type(id) == 'string' and string.sub(id, 1, #RUN_ID + 1) == RUN_ID .. '.' then return string.sub(id, #RUN_ID + 2) end
end

local function next_of_all(run_state)
  local every, others = lists(9), false
  if redis.call('EXISTS', unpack(every)) == 0 then return end
  for i, list in ipairs(every) do
    if others and (i - 1) % #A.on.queues == 0 then return end -- of a lower level
    local waits = redis.call('EXISTS', list) == 1
    for _, pop in ipairs(waits and {'RPOP', 'LPOP'} or {}) do -- the oldest one, or what has just been sent
      local raw = redis.pcall('LINDEX', list, pop == 'RPOP' and -1 or 0)
      local node = type(raw) == 'string' and step_of(raw)
      local f = node and redis.call('HMGET', step_key(node), 'state', 'kind') or {}
      local def, spec
      if f[1] == 'queued' and f[2] == 'step' then def, spec = may_begin(node, run_state) end
      if def then
        redis.call(pop, list)
        not_due('queued:' .. node, 'schedule:' .. node)
        local found = begin(node, run_state, def, spec)
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
