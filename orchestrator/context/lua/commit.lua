-- Payload of the scripts that write: A.fields times (field, version it was read at, or '' for the writer's own
-- namespace; hash, packed value, mark) from ARGV[2] on, then A.conflicts times (id, packed record), then files: name,
-- content, name, content, ...
local LAST_FIELD = 1 + 5 * (A.fields or 0)
local LAST_CONFLICT = LAST_FIELD + 2 * (A.conflicts or 0)

local function writer(version) -- -> author, priority, time of a version
  local entry = redis.call('XRANGE', VERSIONS, version .. '-0', version .. '-0')[1]
  if not entry then return '', 0, '0' end
  local def = redis.call('HGET', DEFS, entry[2][4])
  return entry[2][4], def and cjson.decode(def).priority or 0, entry[2][8]
end

local function clashes() -- what the main line changed since it was read: {field, version, author, priority, at, value}
  local found = {}
  for i = 2, LAST_FIELD, 5 do
    local read_at = tonumber(ARGV[i + 1])
    local v, hash = parsed(read_at and redis.call('HGET', HEAD, ARGV[i]) or nil)
    if read_at and v ~= read_at then -- equal values too: two that counted from 5 to 6 make 7
      local author, priority, at = writer(v)
      found[#found + 1] = {ARGV[i], v, author, priority, at, redis.call('HGET', BLOBS, hash) or ''}
    end
  end
  return found
end

local function put_fields(changes, version)
  for i = 2, LAST_FIELD, 5 do put(changes, version, ARGV[i], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]) end
end

local OPEN = P .. ':ctx:open' -- set: ids of conflicts that wait for a decision

local function keep_conflicts() -- what could not be merged; for A.open, {id, seconds}, the run waits for a decision
  for i = LAST_FIELD + 1, LAST_CONFLICT, 2 do redis.call('HSET', P .. ':conflicts', ARGV[i], ARGV[i + 1]) end
  for _, item in ipairs(A.open or {}) do
    if redis.call('SADD', OPEN, item[1]) == 1 then event('conflict', item[1], 'open') end
    if item[2] then due_at('conflict:' .. item[1], item[2]) end
    if redis.call('HGET', META, 'state') == 'running' then
      redis.call('HSET', META, 'state', 'awaiting_input')
      event('run', '', 'awaiting_input')
    end
  end
end

local function keep_files(step)
  for i = LAST_CONFLICT + 1, #ARGV, 2 do redis.call('HSET', P .. ':files', step .. '/' .. ARGV[i], ARGV[i + 1]) end
end

local function commit(step, attempt) -- a step outside any group writes to the main line
  local changes = {}
  put_fields(changes, newest() + 1)
  keep_conflicts()
  keep_files(step)
  return record(step, attempt, changes)
end
