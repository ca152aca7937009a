-- What every script of a run begins with. KEYS[1]: prefix of the run's keys. ARGV[1]: arguments as JSON;
-- `now` among them replaces the server's clock (tests only).
local P = KEYS[1]
local A = cjson.decode(ARGV[1])
local RUN_ID = P:sub(6, -2)
local META, DUE, EDGES, DEFS = P .. ':meta', P .. ':due', P .. ':edges', P .. ':defs'
local NOW = A.now
if not NOW then
  local t = redis.call('TIME')
  NOW = tonumber(t[1]) + tonumber(t[2]) / 1000000
end
local STAMP = string.format('%.6f', NOW)
local STATE -- of the run, once this script has read it, or moved it
local function state_of_run()
  if STATE == nil then STATE = redis.call('HGET', META, 'state') end
  return STATE
end
local function move_run(state, ...)
  STATE = state
  redis.call('HSET', META, 'state', state, ...)
end
local function step_key(node) return P .. ':s:' .. node end
local function due_at(item, seconds) redis.call('ZADD', DUE, string.format('%.6f', NOW + seconds), item) end
local function not_due(...) redis.call('ZREM', DUE, ...) end
local function is_lane(node) return string.find(node, '/', 1, true) end -- of a mapped step: see lanes.lua
local function event(kind, node, state, attempt, detail, ...) -- ...: names and values of further details
  if is_lane(node) then return end
  redis.call('XADD', P .. ':events', 'MAXLEN', '~', 100000, '*', 't', kind, 'n', node, 's', state,
    'a', attempt or '', 'd', detail or '', 'at', STAMP, ...)
  if kind == 'run' then
    redis.call('XADD', 'orc:news', 'MAXLEN', '~', 10000, '*', 't', kind, 'r', RUN_ID, 's', state, 'd', detail or '',
      'at', STAMP)
  end
end
local function set_deadline(barrier, seconds)
  redis.call('HSET', step_key(barrier), 'deadline', string.format('%.6f', NOW + seconds))
  due_at('barrier:' .. barrier, seconds)
end
