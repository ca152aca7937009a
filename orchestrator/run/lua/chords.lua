-- gather_chords() -> of the steps that are released now: the barrier of each, how many of each barrier travel together as one
-- chord, whose size is kept, and the barriers to whose chord a member that is published again belongs still.
local function gather_chords()
  local barriers, members, again = {}, {}, {}
  for i, node in ipairs(RELEASED) do
    local barrier = BARRIER_OF[node]
    if barrier then members[barrier] = (members[barrier] or 0) + 1 end
    barriers[i] = barrier
  end
  for barrier, count in pairs(members) do
    local f = redis.call('HMGET', step_key(barrier), 'chord', 'header')
    if not f[1] then
      members[barrier] = 1
    elseif f[2] then
      again[barrier] = true
    elseif count > 1 then
      redis.call('HSET', step_key(barrier), 'header', count)
      if MAIL and MAIL.chord then set_up_chord(string.sub(barrier, 2), count) end
    end
  end
  return barriers, members, again
end
