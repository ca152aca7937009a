-- close_run() -> the state of the run: ends it when its last node has ended. As in Airflow, the leaves decide:
-- a failed leaf fails the run; a failure that later steps or a barrier coped with leaves it 'partial'.
local function waits_for_a_person() return redis.call('HLEN', P .. ':ctx:open') > 0 end

local function close_run()
  if TOTAL and DONE and DONE < TOTAL then return state_of_run() end
  local f = redis.call('HMGET', META, 'done', 'total', 'bad', 'bad_leaf', 'state', 'retention', 'doom', 'mapped')
  if tonumber(f[1]) < tonumber(f[2]) then return f[5] end
  if waits_for_a_person() and not f[7] then return f[5] end
  local state = f[7] or (tonumber(f[4]) > 0 and 'failed' or tonumber(f[3]) > 0 and 'partial' or 'success')
  move_run(state, 'finished_at', STAMP)
  event('run', '', state)
  redis.call('XADD', P .. ':end', '*', 's', state)
  redis.call('DEL', DUE)
  local keep = tonumber(f[6])
  if keep > 0 then each_key(f[8], 'EXPIRE', keep) end
  return state
end
