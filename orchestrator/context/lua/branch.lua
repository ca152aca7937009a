-- Branches: what a member of a group has written, until its barrier merges it. P:ctx:b:<step> is a hash: field ->
-- '<version read at, or empty>:<hash that its writer saw>:<hash>'; '@at'; '@seen', the branches that its writer read;
-- '!<field>', the version with which the main line got the field from a step that had read it here; '@merged'.
local function unmerged(step)
  local f = redis.call('HMGET', branch_key(step), '@at', '@merged')
  return f[1] ~= false and f[2] == false
end

local function kind_of_branch(step, flat) -- '' when nothing of it is left to merge, 'own' namespace alone, or 'shared'
  local kind, written = 'own', false
  for i = 1, #flat, 2 do
    if flat[i] == '@merged' then return '' end
    written = written or flat[i] == '@at'
    if not string.find(flat[i], '^[@!]') and not own(step, flat[i]) then kind = 'shared' end
  end
  return written and kind or ''
end

local function commit_branch(step, snapshot)
  local bases = {}
  for i = LAST_CONFLICT + 1, LAST_BASE, 3 do bases[ARGV[i]] = i end
  redis.call('HSET', branch_key(step), '@at', STAMP, '@seen', table.concat(A.seen or {}, ' '))
  for i = 2, LAST_FIELD, 5 do
    local base, at = NONE, bases[ARGV[i]]
    if at then base = ARGV[at + 1] elseif ARGV[i + 1] ~= '' then base = select(2, value_at(ARGV[i], snapshot)) end
    hold(base, at and ARGV[at + 2])
    hold(ARGV[i + 2], ARGV[i + 3])
    redis.call('HSET', branch_key(step), ARGV[i], ARGV[i + 1] .. ':' .. base .. ':' .. ARGV[i + 2])
  end
  keep_files(step)
end

local function merge_branch(changes, version, step, flat) -- its own namespace; shared sections come merged, as payload
  flat = flat or redis.call('HGETALL', branch_key(step))
  for i = 1, #flat, 2 do
    local _, _, hash = branched(flat[i + 1])
    if hash and own(step, flat[i]) then put(changes, version, flat[i], hash, '', '') end
  end
  redis.call('HSET', branch_key(step), '@merged', version)
end
