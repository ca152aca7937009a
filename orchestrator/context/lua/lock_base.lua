-- What every script about locks begins with, after base. `:locks` maps a section to the last fencing token, when it is
-- free, else to that with its queue and its holders as JSON. An entry of either: id (of the request, or '=' and the
-- node whose workflow declares the lock), step, attempt, owner, write, most (holders of its kind at a time), priority; under: the group whose lock
-- this one is part of; all: the sections that a declared one is granted together. Queued: since, ends (its patience);
-- held: token, waited, lease, ends (its lease). Declared ones have no ends: they live as long as the ledger's state.
-- Times are whole milliseconds of the server's clock. Scripts end with store_locks().
local LOCKS, MS = P .. ':locks', math.floor(NOW * 1000)
local LOADED, DIRTY, GONE = {}, {}, {}
local function alive(entries)
  local kept = {}
  for _, entry in ipairs(entries) do
    if not entry.ends or entry.ends > MS then kept[#kept + 1] = entry end
  end
  return kept
end
local function load_lock(section)
  if not LOADED[section] then
    local text = redis.call('HGET', LOCKS, section)
    local lock = text and not tonumber(text) and cjson.decode(text) or {token = tonumber(text or 0), held = {}, queue = {}}
    LOADED[section] = {token = lock.token, held = alive(lock.held), queue = alive(lock.queue), text = text or '0'}
    LOADED[section].dead = #lock.held - #LOADED[section].held
  end
  return LOADED[section]
end
local function taken() -- the sections whose lock somebody holds or waits for
  local all, found = redis.call('HGETALL', LOCKS), {}
  for at = 1, #all, 2 do
    if not tonumber(all[at + 1]) then found[all[at]] = load_lock(all[at]) end
  end
  for section, lock in pairs(DIRTY) do found[section] = lock end
  return found
end
local function write_lock(section, lock)
  local text, soon = tostring(lock.token)
  if lock.held[1] or lock.queue[1] then -- lock_give.lua reads this form
    text = string.format('{"token":%d,"queue":%s,"held":%s}', lock.token, cjson.encode(lock.queue), cjson.encode(lock.held))
  end
  if text ~= lock.text then redis.call('HSET', LOCKS, section, text) end
  for _, entry in ipairs(lock.queue[1] and {lock.queue[1], unpack(lock.held)} or {}) do
    if entry.ends then soon = math.min(soon or entry.ends, entry.ends) end
  end
  if soon then due_at('lock:' .. section, (soon - MS) / 1000) end
end
