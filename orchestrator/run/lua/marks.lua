-- What a plan says of a node, beside its kind, rule and need; everything else that a node has comes from the run.
-- planned(node) -> names and values of all that, and its first state.
local MARKS = {'gate', 'carried', 'barrier', 'leaf', 'chord', 'awaited', 'schedule', 'locks',
  'group_locks', 'pools'}

local function planned(node)
  local fields = {'kind', node.kind, 'rule', node.rule, 'need', node.need, 'state', 'pending'}
  for _, name in ipairs(MARKS) do
    if node[name] then
      fields[#fields + 1] = name
      fields[#fields + 1] = tostring(node[name])
    end
  end
  return fields
end
