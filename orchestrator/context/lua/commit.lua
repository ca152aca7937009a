-- commit(step): the output of a step becomes what its namespace holds, with the files that belong to it.
-- ARGV[2]: the output as JSON, or ''. ARGV[3...]: file name, content, file name, content, ...
local function commit(step)
  if ARGV[2] and ARGV[2] ~= '' then redis.call('HSET', P .. ':ctx', step, ARGV[2]) end
  for i = 3, #ARGV, 2 do redis.call('HSET', P .. ':files', step .. '/' .. ARGV[i], ARGV[i + 1]) end
end
