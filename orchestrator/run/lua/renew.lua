-- A worker's main process says which attempts it still runs. A: owner, lease (s), places: {step of the message that a
-- process was given, 0} or, when it has gone on, {step, token} of the attempt to which it has come. -> {place (number),
-- pid of the child that made its last attempt} for each whose lease is kept or that child has ended by itself, {place, 0}
-- for each whose attempt was taken from this worker, {place, -1} for each whose last attempt is another worker's.
-- 'queued' is never among them: the worker may have accepted the message and not claimed it yet.
local found, held = {}, {}

local function whose(step, token)
  local f = redis.call('HMGET', step_key(step), 'state', 'owner', 'token', 'taken', 'pid')
  if not f[3] then return end
  if token > 0 then
    local same = tonumber(f[3]) == token
    if same and f[1] == 'running' then
      due_at('lease:' .. step, A.lease)
      held[#held + 1] = step
    elseif tonumber(f[4] or 0) >= token then
      return 0
    end
    return same and tonumber(f[5]) or nil
  end
  if f[1] == 'queued' then return end
  if f[2] ~= A.owner then
    if f[3] == f[4] then return 0 end
    return f[2] and f[2] ~= '' and -1 or nil -- a mapped step runs without a process
  end
  if f[1] == 'running' then
    due_at('lease:' .. step, A.lease)
    held[#held + 1] = step
  elseif tonumber(f[4] or 0) >= tonumber(f[3]) then
    return 0
  end
  return tonumber(f[5])
end

for number, place in ipairs(A.places) do
  local pid = whose(place[1], place[2])
  if pid then found[#found + 1] = {number, pid} end
end
extend_locks(held, A.lease)
return found
