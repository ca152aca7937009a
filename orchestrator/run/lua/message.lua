-- message_of(spec, together) -> what Celery would send for a step, as MAIL has it with places to fill in when queues and
-- ledger are on one server; without it the caller publishes. together: how many members of the step's group are released
-- with it, as one chord. set_up_chord(group, n): its size. close_chord(group): as when its body was published, so that
-- nothing is kept of who is counted later.
local function inside(text) return string.sub(cjson.encode(text), 2, -2) end -- of a JSON string
local function fill(template, values) return (string.gsub(template, '@(%u+)@', values)) end

local function addressed(step, agent, queue, priority)
  return {RUN = RUN_ID, STEP = step, AGENT = inside(agent), QUEUE = inside(queue),
    LEVEL = tostring(MAIL.levels[priority + 1]), CHAIN = 'null', CHORD = 'null', GROUP = 'null', INDEX = 'null'}
end

local function set_up_chord(group, size)
  local at = {RUN = RUN_ID, NAME = group}
  redis.call('DEL', fill(MAIL.chord.claim, at))
  redis.call('SET', fill(MAIL.chord.size, at), size, 'EX', MAIL.chord.expires)
end

local function close_chord(group)
  local at, counted = {RUN = RUN_ID, NAME = group}, {}
  for i, key in ipairs(MAIL.chord.counted) do counted[i] = fill(key, at) end
  redis.call('SET', fill(MAIL.chord.claim, at), 'done', 'EX', MAIL.chord.closed)
  redis.call('DEL', unpack(counted))
end

local function message_of(def, together)
  local values = addressed(def.id, def.agent, def.queue, def.priority)
  if def.next then
    local links = {}
    for _, link in ipairs(def.next) do -- Celery takes the last one first
      table.insert(links, 1, fill(MAIL.link, addressed(unpack(link))))
    end
    values.CHAIN = '[' .. table.concat(links, ', ') .. ']'
  end
  if together > 1 then
    values.NAME, values.INDEX = def.group, tostring(def.index)
    values.GROUP, values.CHORD = fill(MAIL.chord.id, values), fill(MAIL.chord.body, values)
  end
  values.BODY = cjson.encode(fill(MAIL.body, values))
  values.TAG = P .. def.id .. ':' .. STAMP
  return fill(MAIL.message, values)
end
