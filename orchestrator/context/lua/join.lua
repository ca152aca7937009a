-- moved() -> whether other branches are there than the engine has merged (A.branches), or the main line went on.
local function moved()
  local expected = {}
  for _, step in ipairs(A.branches) do expected[step] = true end
  for _, step in ipairs(A.members) do
    if unmerged(step) ~= (expected[step] or false) then return true end
  end
  return #clashes() > 0
end

-- join(node): the branches, the merged shared sections and the stand-ins of members that gave nothing become one
-- version, which is kept under the name 'barrier:<group>'. join_own(node, branches): the same of branches, as {step, its
-- hash}, that have nothing to merge.
local function keep_joined(node, changes)
  redis.call('ZADD', NAMES, record(node, 0, changes), 'barrier:' .. string.sub(node, 2))
end

local function join(node)
  local changes, version = {}, newest() + 1
  for _, step in ipairs(A.branches) do merge_branch(changes, version, step) end
  absorb(version)
  put_fields(changes, version)
  keep_conflicts()
  keep_joined(node, changes)
end

local function join_own(node, branches)
  local changes, version = {}, newest() + 1
  for _, one in ipairs(branches) do merge_branch(changes, version, one[1], one[2]) end
  keep_joined(node, changes)
end
