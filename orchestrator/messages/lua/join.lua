-- A consumer of a group is there: the group is made if it is not, and trimming waits for it. A: run, group, consumer,
-- start ('0': all that is kept, '$': what comes), live (s), stream, bounded (others trim it, who ask no group). Consumers that were silent for ten times as long, and have
-- nothing left to acknowledge, are forgotten. -> {'ok', how often something was trimmed that the group has not seen}
if A.run and redis.call('EXISTS', META) == 0 then return {'refused', 'unknown'} end
local function behind(name) -- of the group: what it has not done with may be gone
  local stream = named(redis.call('XINFO', 'STREAM', STREAM))
  local first = stream['first-entry'] and stream['first-entry'][1]
  if not first or stream['entries-added'] == stream.length then return end
  for _, row in ipairs(redis.call('XINFO', 'GROUPS', STREAM)) do
    local group = named(row)
    if group.name == name and before(wants(group), first) then
      tell(group, first)
      if before(group['last-delivered-id'], first) then redis.call('XGROUP', 'SETID', STREAM, name, previous(first)) end
    end
  end
end
local made = redis.pcall('XGROUP', 'CREATE', STREAM, A.group, A.start, 'MKSTREAM')
local is_new = not made.err
if made.err and not string.find(made.err, 'BUSYGROUP') then return made end
local known = redis.call('HSET', BOOK, 'seen:' .. A.group, STAMP) == 0
if is_new and known then redis.call('HINCRBY', BOOK, 'lost:' .. A.group, 1) end -- it was there, and went with its stream
if A.bounded and not is_new then behind(A.group) end
for _, row in ipairs(redis.call('XINFO', 'CONSUMERS', STREAM, A.group)) do
  local consumer = named(row)
  if consumer.name ~= A.consumer and consumer.pending == 0 and consumer.idle > A.live * 10000 then
    redis.call('XGROUP', 'DELCONSUMER', STREAM, A.group, consumer.name)
  end
end
local left = A.run and redis.call('TTL', META) or -1 -- what is written for a run that has ended goes with it
if left >= 0 then for _, key in ipairs({STREAM, BOOK}) do redis.call('EXPIRE', key, left) end end
return {'ok', tonumber(redis.call('HGET', BOOK, 'lost:' .. A.group) or 0)}
