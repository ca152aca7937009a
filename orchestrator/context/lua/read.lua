-- Read at a version. A: version (none: the latest), names (sections and fields; none: everything), branches to lay over
-- the main line, drafts (steps whose unfinished work may be seen where there is nothing else), held (see overlay.lua).
-- -> {'gone', oldest version} or {version, field, version, packed, mark, ...}; the version in a branch or draft is 0, and -1
-- that of a base (see overlay.lua).
local version = A.version or newest()
if not readable(version) then return {'gone', tostring(info().floor)} end
local reply = {version}
local branches = {}
for _, step in ipairs(A.branches or {}) do
  if A.version or unmerged(step) then branches[#branches + 1] = step end
end
local function give(field, at, packed, mark)
  local n = #reply
  reply[n + 1], reply[n + 2], reply[n + 3], reply[n + 4] = field, at, packed or '', mark
end
local function main(field)
  local v, hash, mark = value_at(field, version)
  if hash ~= NONE then give(field, v, packed_of(hash), mark) end
end
local function each(key, name, visit) -- the fields of a hash that a name stands for
  local exact = name and string.find(name, '.', 1, true)
  local flat = exact and {name, redis.call('HGET', key, name) or nil} or redis.call('HGETALL', key)
  for i = 1, #flat - 1, 2 do
    if not name or own(name, flat[i]) then visit(flat[i], flat[i + 1]) end
  end
end
local function look(name)
  local before = #reply
  if name then main(name) end
  if not (name and string.find(name, '.', 1, true)) then
    local from, to = name and '[' .. name .. '.' or '-', name and '(' .. name .. '/' or '+'
    for _, field in ipairs(redis.call('ZRANGEBYLEX', FIELDS, from, to)) do main(field) end
  end
  for _, step in ipairs(branches) do
    each(branch_key(step), name, function(field, text) lay_over(give, step, field, text, version) end)
  end
  if #reply > before then return end
  for _, step in ipairs(A.drafts or {}) do
    each(P .. ':ctx:d:' .. step, name, function(field, packed) give(field, 0, packed, 'draft') end)
  end
end
if A.names then for _, name in ipairs(A.names) do look(name) end else look(nil) end
return reply
