-- Airflow's trigger rules over the outcomes of n blocking dependencies: ok, bad and skip of them have ended.
-- verdict -> 'run', 'wait', or the final state that the step gets without running.
local CLASS = {success = 'ok', cached = 'ok', skipped = 'skip', failed = 'bad', timed_out = 'bad',
  upstream_failed = 'bad', cancelled = 'bad'}
local function outcome(rule, n, ok, bad, skip)
  if rule == 'all_success' then return bad > 0 and 'upstream_failed' or skip > 0 and 'skipped' or ok == n and 'run'
  elseif rule == 'all_failed' then return ok + skip > 0 and 'skipped' or bad == n and 'run'
  elseif rule == 'all_done' then return ok + bad + skip == n and 'run'
  elseif rule == 'all_done_min_one_success' then
    return ok + bad + skip == n and (ok > 0 and 'run' or bad > 0 and 'upstream_failed' or 'skipped')
  elseif rule == 'one_success' then
    return ok > 0 and 'run' or bad + skip == n and (bad > 0 and 'upstream_failed' or 'skipped')
  elseif rule == 'one_failed' then return bad > 0 and 'run' or ok + skip == n and 'skipped'
  elseif rule == 'one_done' then return ok + bad > 0 and 'run' or skip == n and 'skipped'
  elseif rule == 'none_failed' then return bad > 0 and 'upstream_failed' or ok + skip == n and 'run'
  elseif rule == 'none_failed_min_one_success' then
    return bad > 0 and 'upstream_failed' or ok + skip == n and (ok > 0 and 'run' or 'skipped')
  elseif rule == 'none_skipped' then return skip > 0 and 'skipped' or ok + bad == n and 'run'
  elseif rule == 'all_skipped' then return ok + bad > 0 and 'skipped' or skip == n and 'run'
  elseif rule == 'always' then return 'run' end
end
local function verdict(rule, n, ok, bad, skip)
  if n == 0 then return 'run' end
  return outcome(rule, n, ok, bad, skip) or 'wait'
end
