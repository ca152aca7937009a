-- unseen() -> whether a member is in another state by now than the decision was taken over. A.members; A.seen: the states
-- that they had, in that order (nil: nobody has looked).
local function unseen()
  for i, step in ipairs(A.members) do
    if A.seen and redis.call('HGET', step_key(step), 'state') ~= A.seen[i] then return true end
  end
  return false
end
