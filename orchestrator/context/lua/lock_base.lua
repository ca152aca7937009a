-- What every script about locks begins with, after base. `:locks` maps a section to its holders and its queue as JSON,
-- and '#' to the last fencing token. An entry of either: id of the request, step, attempt, owner, write, most (holders
-- of its kind at a time), priority, lease; queued: since, ends (its patience); held: token, waited, ends (its lease).
-- Times are whole milliseconds of the server's clock.
local LOCKS, MS = P .. ':locks', math.floor(NOW * 1000)
local function alive(entries)
  local kept = {}
  for _, entry in ipairs(entries) do
    if entry.ends > MS then kept[#kept + 1] = entry end
  end
  return kept
end
local function load_lock(section)
  local text = redis.call('HGET', LOCKS, section)
  local lock = text and cjson.decode(text) or {held = {}, queue = {}}
  return {held = alive(lock.held), queue = alive(lock.queue)}
end
local function fits(lock, entry)
  for _, other in ipairs(lock.held) do
    if other.write ~= entry.write then return false end
  end
  return #lock.held < entry.most
end
local function wake(entry, message)
  if entry.id == A.id then return end -- whoever runs this script hears of it in the reply
  redis.call('RPUSH', P .. ':wake:' .. entry.id, message)
  redis.call('EXPIRE', P .. ':wake:' .. entry.id, 60)
end
-- settle_lock(section, lock): grants in the order of the queue while its head fits, and stores the lock. A queue that
-- is left is looked at again when the first lease, or the patience of its head, is over.
local function settle_lock(section, lock)
  while lock.queue[1] and fits(lock, lock.queue[1]) do
    local entry = table.remove(lock.queue, 1)
    entry.token = redis.call('HINCRBY', LOCKS, '#', 1)
    entry.waited, entry.ends = MS - entry.since, MS + entry.lease
    table.insert(lock.held, entry)
    wake(entry, 'ok ' .. entry.token .. ' ' .. entry.waited)
  end
  lock.queue = alive(lock.queue)
  if not lock.held[1] then return redis.call('HDEL', LOCKS, section) end
  local soon = lock.queue[1] and lock.queue[1].ends
  for _, entry in ipairs(soon and lock.held or {}) do soon = math.min(soon, entry.ends) end
  if soon then due_at('lock:' .. section, (soon - MS) / 1000) end
  redis.call('HSET', LOCKS, section, cjson.encode(lock))
end
