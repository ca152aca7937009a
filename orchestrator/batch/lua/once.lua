-- Operations, each at most once. KEYS[1]: prefix of the marks. ARGV[1]: how long marks are kept (s, 0: no marks);
-- ARGV[2...]: id, number of parts, the parts of its command; and so on.
-- -> for each {1, reply} or {0, error}. An operation whose mark is there is not done again; its first reply is repeated.
local keep, at, marks, before, found = tonumber(ARGV[1]), 2, {}, {}, {}
while keep > 0 and at < #ARGV do
  marks[#marks + 1] = KEYS[1] .. ARGV[at]
  at = at + 2 + ARGV[at + 1]
end
for first = 1, #marks, 1000 do -- more do not fit on Lua's stack
  local last = math.min(first + 999, #marks)
  for place, reply in ipairs(redis.call('MGET', unpack(marks, first, last))) do before[marks[first + place - 1]] = reply end
end
at = 2
for place = 1, math.huge do
  if at >= #ARGV then return found end
  local count, mark = tonumber(ARGV[at + 1]), marks[place]
  if mark and before[mark] then
    found[place] = {1, cmsgpack.unpack(before[mark])}
  else
    local reply = redis.pcall(unpack(ARGV, at + 2, at + 1 + count))
    if type(reply) == 'table' and reply.err then
      found[place] = {0, reply.err}
    else
      if mark then
        before[mark] = cmsgpack.pack(reply)
        redis.call('SET', mark, before[mark], 'EX', keep)
      end
      found[place] = {1, reply}
    end
  end
  at = at + 2 + count
end
