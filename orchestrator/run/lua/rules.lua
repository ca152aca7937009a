-- Airflow's trigger rules over the outcomes of n blocking dependencies: ok, bad and skip of them have ended.
-- verdict -> 'run', 'wait', or the final state that the step gets without running.
local CLASS = {success = 'ok', cached = 'ok', skipped = 'skip', failed = 'bad', timed_out = 'bad',
  upstream_failed = 'bad', cancelled = 'bad'}
local RULES = {
  all_success = function(n, ok, bad, skip)
    return bad > 0 and 'upstream_failed' or skip > 0 and 'skipped' or ok == n and 'run' end,
  all_failed = function(n, ok, bad, skip) return ok + skip > 0 and 'skipped' or bad == n and 'run' end,
  all_done = function(n, ok, bad, skip) return ok + bad + skip == n and 'run' end,
  all_done_min_one_success = function(n, ok, bad, skip)
    return ok + bad + skip == n and (ok > 0 and 'run' or bad > 0 and 'upstream_failed' or 'skipped') end,
  one_success = function(n, ok, bad, skip)
    return ok > 0 and 'run' or bad + skip == n and (bad > 0 and 'upstream_failed' or 'skipped') end,
  one_failed = function(n, ok, bad, skip) return bad > 0 and 'run' or ok + skip == n and 'skipped' end,
  one_done = function(n, ok, bad, skip) return ok + bad > 0 and 'run' or skip == n and 'skipped' end,
  none_failed = function(n, ok, bad, skip)
    return bad > 0 and 'upstream_failed' or ok + skip == n and 'run' end,
  none_failed_min_one_success = function(n, ok, bad, skip)
    return bad > 0 and 'upstream_failed' or ok + skip == n and (ok > 0 and 'run' or 'skipped') end,
  none_skipped = function(n, ok, bad, skip) return skip > 0 and 'skipped' or ok + bad == n and 'run' end,
  all_skipped = function(n, ok, bad, skip) return ok + bad > 0 and 'skipped' or skip == n and 'run' end,
  always = function() return 'run' end,
}
local function verdict(rule, n, ok, bad, skip)
  if n == 0 then return 'run' end
  return RULES[rule](n, ok, bad, skip) or 'wait'
end
