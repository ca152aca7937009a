-- post(definition as JSON, together) -> whether the message of a step went into its queue's list. MAIL has what
-- Celery would send, with places to fill in, when queues and ledger are on one server; without it the caller publishes.
-- together: how many members of the step's group are released with it, as one chord. set_up_chord(def, n): its size.
local function inside(text) return string.sub(cjson.encode(text), 2, -2) end -- of a JSON string
local function fill(template, values) return (string.gsub(template, '@(%u+)@', values)) end
local RUN_ID = string.match(P, '{(.*)}')

local function addressed(step, agent, queue, priority)
  return {RUN = RUN_ID, STEP = step, AGENT = inside(agent), QUEUE = inside(queue),
    LEVEL = tostring(MAIL.levels[priority + 1]), CHAIN = 'null', CHORD = 'null', GROUP = 'null', INDEX = 'null'}
end

local function set_up_chord(group, size)
  local at = {RUN = RUN_ID, NAME = group}
  redis.call('DEL', fill(MAIL.chord.claim, at))
  redis.call('SET', fill(MAIL.chord.size, at), size, 'EX', MAIL.chord.expires)
end

local function post(text, together)
  local def = MAIL and cjson.decode(text)
  if not def or (together > 1 and not MAIL.chord) then return false end
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
  local level = MAIL.levels[def.priority + 1]
  local list = MAIL.queue .. def.queue .. (level > 0 and MAIL.separator .. level or '')
  return type(redis.pcall('LPUSH', list, fill(MAIL.message, values))) == 'number'
end
