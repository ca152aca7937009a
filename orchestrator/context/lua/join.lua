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
-- version, which is kept under the name 'barrier:<group>'.
local function join(node)
  local changes, version = {}, newest() + 1
  for _, step in ipairs(A.branches) do merge_branch(changes, version, step) end
  absorb(version)
  put_fields(changes, version)
  keep_conflicts()
  redis.call('ZADD', NAMES, record(node, 0, changes), 'barrier:' .. string.sub(node, 2))
end
