-- What branches have written into shared sections, as far as the main line does not have it. A: members (steps), in the
-- order in which they are merged. What a writer had read in another branch comes before it, whosever branch that is.
-- -> {unmerged members, {{step, its priority, when it committed, field, version of the main line, its author, priority
--     and time, packed values: main line, base, theirs}, ...}}
local steps, rows, given = {}, {}, {}
local function value(hash) return hash ~= NONE and redis.call('HGET', BLOBS, hash) or '' end

local function give(step, field)
  local bk = branch_key(step)
  local _, base, theirs = branched(redis.call('HGET', bk, field) or '')
  if not theirs or given[step .. ' ' .. field] or not unmerged(step) or absorbed(step, field, newest()) then return end
  given[step .. ' ' .. field] = true
  local f = redis.call('HMGET', bk, '@at', '@seen')
  for before in string.gmatch(f[2] or '', '%S+') do give(before, field) end
  local v, hash = parsed(redis.call('HGET', HEAD, field) or nil)
  local author, priority, at = writer(v)
  local mine = cjson.decode(redis.call('HGET', DEFS, step)).priority or 0
  rows[#rows + 1] = {step, mine, f[1], field, v, author, priority, at, value(hash), value(base), value(theirs)}
end

for _, step in ipairs(A.members) do
  if unmerged(step) then
    steps[#steps + 1] = step
    for _, field in ipairs(redis.call('HKEYS', branch_key(step))) do
      if not string.find(field, '^[@!]') and not own(step, field) then give(step, field) end
    end
  end
end
return {steps, rows}
