-- reply(run_state, first): {run state, definitions of steps that the caller publishes, barriers to judge as {node,
-- group_of(node)}, steps that ask for pools as {definition, number}, leases that are over as {step, number}}, message.
-- first: the released step that the caller begins itself; message: what it would have got, '' outside a chord, nil when
-- it has to be published after all.
local function send(node, together, run_state, first) -- -> definition, if the caller publishes it; message, if it begins it
  if node == first and together == 1 then return nil, '' end
  local def = text_of(node)
  if not MAIL or (together > 1 and not MAIL.chord) then return def end
  local spec = cjson.decode(def)
  local message = together > 1 and message_of(spec, together)
  if node == first then return nil, message or '' end
  if hand_over(node, def, spec, message or '', run_state) then return end
  if not post(spec, message or message_of(spec, 1)) then return def end
  due_at('queued:' .. node, A.lost or 10)
end

local function reply(run_state, first)
  release_admitted()
  sort_released()
  local defs, mine = {}, nil
  local barriers, members, again = gather_chords()
  for i, node in ipairs(RELEASED) do
    local barrier = barriers[i]
    local def, message
    if again[barrier] then def = text_of(node)
    else def, message = send(node, barrier and members[barrier] or 1, run_state, first) end
    if def then
      due_at('queued:' .. node, A.lost or 10)
      defs[#defs + 1] = def
    end
    mine = mine or message
  end
  if mine and SCHEDULED[first] then not_due('schedule:' .. first) end
  for i, one in ipairs(ASKING) do ASKING[i] = {redis.call('HGET', DEFS, one[1]), one[2]} end
  for i, node in ipairs(JOINED) do JOINED[i] = {node, group_of(node)} end
  return {run_state, defs, JOINED, ASKING, FREED}, mine
end
