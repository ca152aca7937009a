-- release(node): a barrier that this script has joined is decided with the end of its last member, when all have succeeded
-- and written nothing that would have to be merged or looked at. All others are left to the caller. A.release: {action,
-- decision}.
local function own_branches(members) -- -> {{step, its branch}, ...}; nothing when one has written into shared sections
  local found = {}
  for _, step in ipairs(members) do
    local branch = redis.call('HGETALL', branch_key(step))
    local kind = kind_of_branch(step, branch)
    if kind == 'shared' then return end
    if kind == 'own' then found[#found + 1] = {step, branch} end
  end
  return found
end

local function release(node) -- each member counts once in `ok`, so that it is as many as are needed when all are good
  local f = redis.call('HMGET', step_key(node), 'ok', 'need', 'deadline', 'header')
  local def = f[1] == f[2] and redis.call('HGET', DEFS, node)
  local spec = def and cjson.decode(def)
  if not spec or spec.validation or (spec.barrier or {}).consistency then return end
  local branches = own_branches(spec.members)
  if not branches then return end
  decided(node, 'success', f[3], A.release[1], A.release[2], {})
  join_own(node, branches)
  A.executed = nil -- the canvas of a member does not go on with what stands behind its group
  let_go(node, 'success', f[4])
end
