-- snapshot(step, spec) -> the version that an attempt reads to its end, and the branches to lay over it: of those that
-- it comes after or wants, what the main line does not have yet. A step keeps what it has seen for those behind it.
-- unpin(step): nobody reads at that version any more, and what the attempt published is withdrawn.
local function snapshot(step, spec)
  if spec.lane then return 0, {} end -- reads what the mapped step reads
  local version, seen, known = newest(), {}, {}
  local function add(name)
    if not known[name] and unmerged(name) then
      known[name] = true
      seen[#seen + 1] = name
    end
  end
  local visited = {}
  local function visit(names)
    for _, name in ipairs(names or {}) do
      if not visited[name] then
        visited[name] = true
        local before = redis.call('HGET', step_key(name), 'seen')
        for other in string.gmatch(before or '', '%S+') do add(other) end
        if not before then -- a barrier, or a step that never ran
          local def = cjson.decode(redis.call('HGET', DEFS, name) or '{}')
          visit(def.after or def.members)
        end
        add(name)
      end
    end
  end
  visit(spec.after)
  for _, name in ipairs(spec.wants or {}) do add(name) end
  redis.call('ZADD', PINS, version, step)
  if spec.after then redis.call('HSET', step_key(step), 'seen', table.concat(seen, ' ')) end
  return version, seen
end

local function unpin(step)
  redis.call('ZREM', PINS, step)
  redis.call('DEL', P .. ':ctx:d:' .. step)
end
