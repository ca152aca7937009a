-- admit(node, wants, fresh, under): whether a node has been granted the locks that it declares; else it stands in the
-- queues of all of them, and ADMITTED will name it. wants: its priority, and `section:r5` or `section:w1` (how many
-- may at a time) for each. fresh: it has not asked before. It holds nothing while it waits, so nobody waits for it.
local function admit(node, wants, fresh, under)
  local id, sections = '=' .. node, {}
  for section in string.gmatch(wants, '(%S+):') do sections[#sections + 1] = section end
  settle_free()
  local first = load_lock(sections[1])
  local function is_among(entries)
    for _, entry in ipairs(entries) do
      if entry.id == id then return true end
    end
  end
  if is_among(first.held) then return true end
  if not fresh and is_among(first.queue) then return false end
  for section, mode, most in string.gmatch(wants, '(%S+):(%a)(%d+)') do
    enqueue(section, {id = id, step = node, all = sections, under = under, write = mode == 'w', since = MS,
      most = tonumber(most), priority = tonumber(string.match(wants, '^%d+'))})
  end
  ASKS = id
  for _, section in ipairs(sections) do settle_lock(section) end
  ASKS = A.id
  return is_among(first.held) or false
end
