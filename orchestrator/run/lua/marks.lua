-- What a plan says of a node, beside its kind, rule and need; everything else that a node has comes from the run.
local MARKS = {'gate', 'carried', 'barrier', 'leaf', 'chord', 'awaited', 'schedule', 'locks',
  'group_locks', 'pools'}
