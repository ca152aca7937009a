-- Operations, each at most once. KEYS[1]: prefix of the marks. ARGV[1]: how long they are kept at least (s, 0: no marks);
-- ARGV[2]: id, command, id, command... as MessagePack, each command an array of its parts.
-- -> {places of those that were refused, from 1; their errors, and the replies of all others}
-- Marks are fields of one hash for each `keep` seconds: its own and the one before are looked at, older ones go.
local keep, given = tonumber(ARGV[1]), cmsgpack.unpack(ARGV[2])
local count, ids, before, marks, found, refused = #given / 2, {}, {}, {}, {}, {}
local MOST = 2000 -- values on Lua's stack
for place = 1, count do ids[place] = given[2 * place - 1] end

local function bucket(back) return KEYS[1] .. string.format('%d', redis.call('TIME')[1] / keep - back) end
local function remember(key)
  for first = 1, redis.call('EXISTS', key) * count, MOST do
    for place, reply in ipairs(redis.call('HMGET', key, unpack(ids, first, math.min(first + MOST - 1, count)))) do
      if reply then before[ids[first + place - 1]] = reply end
    end
  end
end
if keep > 0 then
  redis.call('UNLINK', bucket(2)) -- in the background: it may be large
  remember(bucket(1))
  remember(bucket(0))
end

for place, id in ipairs(ids) do
  if before[id] then
    found[place] = cmsgpack.unpack(before[id])
  else
    local reply = redis.pcall(unpack(given[2 * place]))
    if type(reply) == 'table' and reply.err then
      refused[#refused + 1], found[place] = place, reply.err
    else
      found[place] = reply
      if keep > 0 then
        before[id] = cmsgpack.pack(reply)
        marks[#marks + 1], marks[#marks + 2] = id, before[id]
      end
    end
  end
end
for first = 1, #marks, MOST do
  redis.call('HSET', bucket(0), unpack(marks, first, math.min(first + MOST - 1, #marks)))
end
if marks[1] then redis.call('EXPIRE', bucket(0), 2 * keep) end
return {refused, found}
