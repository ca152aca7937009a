-- undo(chosen, whole): what these steps have written is taken back, as a new version. Their own namespaces and files
-- are gone; a shared field has again what it had before them, unless somebody else has written it since, or another's
-- edit came in with theirs. A barrier's merge is taken back when all its members are among them. whole: everything is
-- gone, conflicts too.
local function discard_branch(step)
  local flat = redis.call('HGETALL', branch_key(step))
  for i = 1, #flat, 2 do
    local _, base, hash = branched(flat[i + 1])
    if hash then
      drop(base)
      drop(hash)
    end
  end
  redis.call('DEL', branch_key(step))
end

local function undone(chosen, author)
  if string.sub(author, 1, 1) ~= '@' then return chosen[author] end
  for _, member in ipairs(cjson.decode(redis.call('HGET', DEFS, author)).members) do
    if not chosen[member] then return false end
  end
  return true
end

local function undo(chosen, whole)
  local changes, version, mixed = {}, newest() + 1, brought_along(chosen)
  for _, field in ipairs(redis.call('ZRANGEBYLEX', FIELDS, '-', '+')) do
    local v, hash, mark = parsed(redis.call('HGET', HEAD, field) or nil)
    if whole or chosen[string.match(field, '^[^.]*')] then
      hash, mark = NONE, ''
    else
      while v > 0 and readable(v - 1) and not mixed[field .. ' ' .. v] and undone(chosen, (writer(v))) do
        v, hash, mark = value_at(field, v - 1)
      end
    end
    put(changes, version, field, hash, '', mark)
  end
  record('retry', 0, changes)
  for step in pairs(chosen) do discard_branch(step) end
  for _, name in ipairs(redis.call('HKEYS', P .. ':files')) do
    if chosen[string.match(name, '^[^/]*')] then redis.call('HDEL', P .. ':files', name) end
  end
  if whole then redis.call('DEL', OPEN, P .. ':conflicts') end
end
