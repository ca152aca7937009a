-- decided(node, state, deadline, action, decision, filled, impact): what was decided about a barrier is kept with its end.
-- let_go(node, state, chord): its consumers hear of that, and Celery counts its members no longer, if it has a chord.
local function decided(node, state, deadline, action, decision, filled, impact)
  redis.call('HSET', step_key(node), 'outcome', state, 'action', action, 'decision', decision, 'decided_at', STAMP,
    'filled', table.concat(filled, ' '), 'quality_impact', #filled > 0 and impact or '')
  not_due('joined:' .. node, 'barrier:' .. node)
  end_step(node, state)
  event('barrier', node, state, '', decision, 'action', action, 'deadline', deadline or '', 'decided_at', STAMP)
end

local function let_go(node, state, chord)
  settle(node, state)
  if chord and MAIL and MAIL.chord then close_chord(string.sub(node, 2)) end
end
