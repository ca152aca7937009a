-- take_turn(node, turns, queue, consider): members of a group that run one after another. The next one in line (`turns`,
-- separated by blanks) may start when the one before has ended. A member whose attempt was just taken away waits until
-- its process has stopped (`free_at`).
local function take_turn(node, turns, queue, consider)
  local bk = step_key(node)
  local before = redis.call('HGET', bk, 'turn')
  if before and not CLASS[redis.call('HGET', step_key(before), 'state')] then return end
  for step in string.gmatch(turns, '%S+') do
    turns = string.sub(turns, #step + 2)
    local f = redis.call('HMGET', step_key(step), 'state', 'free_at', 'token')
    if f[1] == 'pending' then
      redis.call('HSET', bk, 'turns', turns, 'turn', step)
      redis.call('HDEL', step_key(step), 'gate', 'free_at')
      if f[2] and tonumber(f[2]) > NOW then
        redis.call('HSET', step_key(step), 'state', 'retrying')
        due_at('retry:' .. step, tonumber(f[2]) - NOW)
        event('step', step, 'retrying', f[3])
      else
        consider(step, queue)
      end
      return
    end
  end
  redis.call('HSET', bk, 'turns', '')
end
