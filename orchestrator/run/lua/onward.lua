-- A process that has ended an attempt begins the next one at once. by, and A.on of the caller: worker, owner, pid and lease
-- as in take(); head (the id of the task whose message the process was given), queues (of its worker), seconds (a step
-- that is known to take longer has a message of its own).
-- may_begin(step, run_state, by) -> the definition of a queued step, as text and as table; nothing when it has to wait.
-- is_next(spec, by): nothing that is more urgent waits. by_message(step, run_state, by) -> what take() says, or nothing.
local function served(class, queues)
  for _, queue in ipairs(queues) do
    if queue == MAIL.queue .. class then return true end
  end
end

local function may_begin(node, run_state, by)
  if run_state == 'paused' or run_state == 'awaiting_input' or is_lane(node) then return end
  local def = redis.call('HGET', DEFS, node)
  if not def then return end -- of a run that is not whole any more: nobody else's script may fail of it
  local spec = cjson.decode(def)
  if served(spec.queue, by.queues) and not spec.expand and (spec.learned or 0) <= by.seconds then return def, spec end
end

local function is_next(spec, by)
  local before = lists(by.queues, MAIL.levels[spec.priority + 1] - 1)
  return not before[1] or redis.call('EXISTS', unpack(before)) == 0
end

local function by_message(node, run_state, by)
  local f, def, spec = redis.call('HMGET', step_key(node), 'state', 'kind')
  if run_state and f[1] == 'queued' and f[2] == 'step' then def, spec = may_begin(node, run_state, by) end
  if not def then return end
  not_due('queued:' .. node, 'schedule:' .. node)
  return take(node, by, run_state, def, spec)
end
