-- Members of a group are about to collide: told once for each place and pair. A: node (their barrier), step, warnings:
-- {path, other step, sentence}. -> the sentences that nobody has told before
local told = {}
for _, warning in ipairs(A.warnings) do
  local path, other, sentence = warning[1], warning[2], warning[3]
  local pair = A.step < other and A.step .. ' ' .. other or other .. ' ' .. A.step
  if redis.call('HSETNX', step_key(A.node), 'warned:' .. pair .. ' ' .. path, STAMP) == 1 then
    event('conflict', A.step, 'early', '', sentence, 'field', path, 'with', other)
    told[#told + 1] = sentence
  end
end
return told
