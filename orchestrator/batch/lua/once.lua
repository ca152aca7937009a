-- Operations, each at most once. KEYS[1]: prefix of the marks. ARGV[1]: how long marks are kept (s, 0: no marks);
-- ARGV[2...]: id, number of parts, the parts of its command; and so on.
-- -> for each {1, reply} or {0, error}. An operation whose mark is there is not done again; its first reply is repeated.
local keep, at, found = tonumber(ARGV[1]), 2, {}
while at < #ARGV do
  local count = tonumber(ARGV[at + 1])
  local mark = keep > 0 and KEYS[1] .. ARGV[at]
  local before = mark and redis.call('GET', mark)
  if before then
    found[#found + 1] = {1, cmsgpack.unpack(before)}
  else
    local reply = redis.pcall(unpack(ARGV, at + 2, at + 1 + count))
    if type(reply) == 'table' and reply.err then
      found[#found + 1] = {0, reply.err}
    else
      if mark then redis.call('SET', mark, cmsgpack.pack(reply), 'EX', keep) end
      found[#found + 1] = {1, reply}
    end
  end
  at = at + 2 + count
end
return found
