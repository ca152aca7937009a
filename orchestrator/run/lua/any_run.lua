-- Inside of in_run(KEYS, ARGV): what a script about several runs needs of each. ARGV: {arguments with the nonce}. begin(step,
-- by) -> what take() says of a queued step, with its run as the ninth, or nothing; taken_before(step): the same, when this
-- call has taken it before.
local function of_this(found)
  if found then found[8], found[9] = '', RUN_ID end
  return found
end

return {
  begin = function(step, by) return of_this(by_message(step, state_of_run(), by)) end,
  taken_before = function(step) return of_this(taken_before(step, state_of_run())) end,
}
