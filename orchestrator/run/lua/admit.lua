-- Declared locks were granted by a script that cannot publish: whoever had waited for them is queued. A: nodes.
-- -> {'refused', 'unknown'} or reply(run state)
local state = state_of_run()
if not state then return {'refused', 'unknown'} end
for _, node in ipairs(A.nodes) do ADMITTED[#ADMITTED + 1] = node end
return reply(state)
