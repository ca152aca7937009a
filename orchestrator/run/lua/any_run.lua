-- For look.lua: what it needs of the run of a message.
return {
  begin = function(step) return by_message(step, state_of_run(), A.by) end,
  taken_before = function(step) return taken_before(step, state_of_run()) end,
}
