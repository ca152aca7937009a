-- Who comes next. ADMITTED collects the nodes that have waited for declared locks, and hold them now.
local function fits(lock, entry)
  local count = 0
  for _, other in ipairs(lock.held) do
    if other.step ~= entry.under then
      if other.write ~= entry.write then return false end
      count = count + 1
    end
  end
  return count < entry.most
end
local ADMITTED, ASKS = {}, A.id
local function wake(entry, message)
  if entry.id == ASKS then return end -- whoever asks in this script hears of it without that
  if entry.all then
    ADMITTED[#ADMITTED + 1] = entry.step
    due_at('admit:' .. entry.step, 0)
  else
    redis.call('RPUSH', P .. ':wake:' .. entry.id, message)
    redis.call('EXPIRE', P .. ':wake:' .. entry.id, 60)
  end
end
-- enqueue(section, entry): by priority, and in the order of arrival. Ahead of those who wait for the asker itself: for
-- the lock of its group, or, when it holds something already, for declared locks, which are granted together.
local function enqueue(section, entry, holds)
  local queue = load_lock(section).queue
  local at = #queue + 1
  while at > 1 and queue[at - 1].priority < entry.priority do at = at - 1 end
  for place = at - 1, 1, -1 do
    local other = queue[place]
    if (entry.under and other.under ~= entry.under) or (holds and other.all) then at = place end
  end
  table.insert(queue, at, entry)
end
