-- Where groups stand in the stream, P and A.stream (nil: ':messages'). named(row): a reply of names and values as a table. before(a, b): of two ids.
-- wants(group): the first id that it has not done with. silent(group): for how many seconds it was not seen.
-- tell(group, kept): what was before the id `kept` is gone, and the group has not done with all of it.
local STREAM = P .. (A.stream or ':messages')
local BOOK = STREAM .. ':book'
local function place(id)
  local ms, number = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(number)
end
local function before(a, b)
  local ms, number = place(a)
  local other, its = place(b)
  return ms < other or (ms == other and number < its)
end
local function previous(id)
  local ms, number = place(id)
  if number > 0 then return string.format('%.0f-%.0f', ms, number - 1) end
  return string.format('%.0f-18446744073709551615', ms - 1)
end
local function named(row)
  local found = {}
  for at = 1, #row, 2 do found[row[at]] = row[at + 1] end
  return found
end
local function wants(group) -- the first id that a group has not done with
  if group.pending > 0 then return redis.call('XPENDING', STREAM, group.name)[2] end
  local ms, number = place(group['last-delivered-id'])
  return string.format('%.0f-%.0f', ms, number + 1)
end
local function silent(group)
  return NOW - tonumber(redis.call('HGET', BOOK, 'seen:' .. group.name) or 0)
end
local function tell(group, kept) -- it will never get what is gone
  redis.call('HINCRBY', BOOK, 'lost:' .. group.name, 1)
  for _, row in ipairs(redis.call('XPENDING', STREAM, group.name, '-', '(' .. kept, 100000)) do
    redis.call('XACK', STREAM, group.name, row[1])
  end
end
