-- trim(total, limits): of the stream at most limits.bytes are kept, and what is older than its newest limits.keep bytes
-- goes as soon as every group that was seen within limits.live seconds is done with it. A group that is trimmed past is
-- told: `lost:<group>` in the book. Entries say first of all how many bytes were written before them; total: of all.
local function first_kept(total, limits, needed) -- nil: nothing is
  local rows = redis.call('XRANGE', STREAM, '-', '+', 'COUNT', 50)
  while rows[1] do
    for _, row in ipairs(rows) do
      local left = total - tonumber(row[2][2])
      if left <= limits.keep or (left <= limits.bytes and needed and not before(row[1], needed)) then return row[1] end
    end
    rows = redis.call('XRANGE', STREAM, '(' .. rows[#rows][1], '+', 'COUNT', 50)
  end
end
local function trim(total, limits)
  local groups, needed = {}, nil
  for _, row in ipairs(redis.call('XINFO', 'GROUPS', STREAM)) do
    local group = named(row)
    if silent(group) > limits.live * 10000 then
      redis.call('XGROUP', 'DESTROY', STREAM, group.name)
      redis.call('HDEL', BOOK, 'seen:' .. group.name, 'lost:' .. group.name)
    else
      group.wants = wants(group)
      if silent(group) < limits.live and (not needed or before(group.wants, needed)) then needed = group.wants end
      groups[#groups + 1] = group
    end
  end
  local kept = first_kept(total, limits, needed)
  if not kept or redis.call('XTRIM', STREAM, 'MINID', kept) == 0 then return end
  for _, group in ipairs(groups) do
    if before(group.wants, kept) then tell(group, kept) end
  end
end
