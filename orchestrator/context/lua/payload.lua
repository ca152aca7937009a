-- Payload of the scripts that write: A.fields times (field, version it was read at, or '' for the writer's own
-- namespace; hash, packed value, mark) from ARGV[2] on, then A.conflicts times (id, packed record), then A.bases times
-- (field, hash, packed value that the writer started from, where that is in no version), then files: name, content, ...
local LAST_FIELD = 1 + 5 * (A.fields or 0)
local LAST_CONFLICT = LAST_FIELD + 2 * (A.conflicts or 0)
local LAST_BASE = LAST_CONFLICT + 3 * (A.bases or 0)

local function put_fields(changes, version)
  for i = 2, LAST_FIELD, 5 do put(changes, version, ARGV[i], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]) end
end

local OPEN = P .. ':ctx:open' -- hash: id of a conflict that waits for a decision -> seconds to decide in, or ''

local function keep_conflicts() -- what could not be merged; for A.open, {id, seconds}, the run waits for a decision
  local waits = {}
  for _, item in ipairs(A.open or {}) do waits[item[1]] = true end
  for i = LAST_FIELD + 1, LAST_CONFLICT, 2 do
    if redis.call('HSET', P .. ':conflicts', ARGV[i], ARGV[i + 1]) == 1 then
      event('conflict', ARGV[i], waits[ARGV[i]] and 'open' or 'recorded')
    end
  end
  for _, item in ipairs(A.open or {}) do
    redis.call('HSET', OPEN, item[1], item[2] or '')
    if item[2] then due_at('conflict:' .. item[1], item[2]) end
    if state_of_run() == 'running' then
      move_run('awaiting_input')
      event('run', '', 'awaiting_input')
    end
  end
end

local function keep_files(step)
  for i = LAST_BASE + 1, #ARGV, 2 do redis.call('HSET', P .. ':files', step .. '/' .. ARGV[i], ARGV[i + 1]) end
end
