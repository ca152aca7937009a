-- settle_lock(section): grants in the order of the queue while its head fits. A declared lock is granted in all of its
-- sections at once, when it is next in each.
local function is_next(id, sections)
  for _, section in ipairs(sections) do
    local lock = load_lock(section)
    if not lock.queue[1] or lock.queue[1].id ~= id or not fits(lock, lock.queue[1]) then return false end
  end
  return true
end
local function settle_lock(section)
  local lock = load_lock(section)
  DIRTY[section] = lock
  while lock.queue[1] do
    local head = lock.queue[1]
    local sections = head.all or {section}
    if not is_next(head.id, sections) then break end
    for _, one in ipairs(sections) do
      local entry = table.remove(load_lock(one).queue, 1)
      local its = load_lock(one)
      its.token = its.token + 1
      entry.token, entry.waited, entry.ends = its.token, MS - entry.since, entry.lease and MS + entry.lease
      table.insert(its.held, entry)
      waited(one, entry)
    end
    wake(head, 'ok ' .. head.token .. ' ' .. head.waited)
    for _, one in ipairs(sections) do
      if one ~= section then settle_lock(one) end
    end
  end
  lock.queue = alive(lock.queue)
end
