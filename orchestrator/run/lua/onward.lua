-- A process that has ended an attempt begins the next one at once. A.on: nil, or worker, owner, pid and lease as in take();
-- head (the step whose message the process was given), queues (of its worker), seconds (a step that is known to take
-- longer has a message of its own).
-- released_alone(run_state): begins the step that was released alone, without a message, unless others wait that are
-- more urgent. next_of_all(run_state): takes a message of this run, if none is more urgent, and begins its step; the message is the eighth of what take() says. Both: nil when there is none.
local OURS_BYTES = 16384
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

local function may_begin(node, run_state)
  if run_state == 'paused' or run_state == 'awaiting_input' or is_lane(node) then return end
  local f = redis.call('HMGET', step_key(node), 'state', 'kind')
  local spec = f[1] == 'queued' and f[2] == 'step' and cjson.decode(redis.call('HGET', DEFS, node))
  if spec and served(spec.queue) and not spec.expand and (spec.learned or 0) <= A.on.seconds then return spec end
end

local function begin(node, run_state)
  local found = take(node, A.on, run_state)
  redis.call('HSET', step_key(A.on.head), 'onward', node, 'onward_token', found[2])
  return found
end

local function released_alone(run_state)
  local node = RELEASED[1]
  local spec = node and not RELEASED[2] and may_begin(node, run_state)
  local before = spec and not spec.chord and lists(MAIL.levels[spec.priority + 1] - 1)
  if not before or (before[1] and redis.call('EXISTS', unpack(before)) > 0) then return end
  RELEASED[1] = nil
  return begin(node, run_state)
end

local function step_of(raw)
  local whole, message = pcall(cjson.decode, #raw < OURS_BYTES and raw or '')
  local id = whole and type(message) == 'table' and type(message.headers) == 'table' and message.headers.id
  if type(id) == 'string' and string.sub(id, 1, #RUN_ID + 1) == RUN_ID .. '.' then return string.sub(id, #RUN_ID + 2) end
end
