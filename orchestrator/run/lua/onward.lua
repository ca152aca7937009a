-- A process that has ended an attempt begins the next one at once. A.on: nil, or worker, owner, pid and lease as in take();
-- head (the step whose message the process was given), queues (of its worker), seconds (a step that is known to take
-- longer has a message of its own).
-- released_alone(run_state): begins the step that was released alone, without a message, unless others wait that are
-- more urgent; nil when there is none.
local function lists(most)
  local found = {}
  for level = 0, most do
    for _, queue in ipairs(A.on.queues) do
      found[#found + 1] = queue .. (level > 0 and MAIL.separator .. level or '')
    end
  end
  return found
end

local function served(class)
  for _, queue in ipairs(A.on.queues) do
    if queue == MAIL.queue .. class then return true end
  end
end

local function may_begin(node, run_state) -- -> its definition, as text and as table, of a node that is queued
  if run_state == 'paused' or run_state == 'awaiting_input' or is_lane(node) then return end
  local def = redis.call('HGET', DEFS, node)
  local spec = cjson.decode(def)
  if served(spec.queue) and not spec.expand and (spec.learned or 0) <= A.on.seconds then return def, spec end
end

local function begin(node, ...)
  local found = take(node, A.on, ...)
  redis.call('HSET', step_key(A.on.head), 'onward', node, 'onward_token', found[2])
  return found
end

local function released_alone(run_state)
  local node = RELEASED[1]
  if not node or RELEASED[2] then return end
  local def, spec = may_begin(node, run_state)
  local before = spec and not spec.chord and lists(MAIL.levels[spec.priority + 1] - 1)
  if not before or (before[1] and redis.call('EXISTS', unpack(before)) > 0) then return end
  RELEASED[1] = nil
  if SCHEDULED[node] then not_due('schedule:' .. node) end
  return begin(node, run_state, def, spec)
end
