"""What a run leaves in the indexes that all runs share, so that nothing in Redis grows for ever."""

from __future__ import annotations

from typing import Any

from orchestrator import keys
from orchestrator.connection import guarded
from orchestrator.engine.runtime import Runtime

AT_ONCE = 20
"""So many entries of an index are looked at for each run that ends: more than it has added."""

_LEAVE = """
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
if score and tonumber(score) == tonumber(ARGV[2]) then return redis.call('ZREM', KEYS[1], ARGV[1]) end
return 0
"""


def leave(runtime: Runtime, run_id: str, score: float, now: float) -> None:
    """An ended run leaves the index of active ones, unless it has another `score` by now: it was opened again."""
    with guarded():
        runtime.client.eval(_LEAVE, 1, keys.ACTIVE, run_id, repr(score))
        forget_expired(runtime, keys.RUNS, now)
        forget_expired(runtime, keys.DEAD_STEPS, now)


def forget_expired(runtime: Runtime, index: str, now: float) -> None:
    """Drop what some entries of an index name, when it has expired. A run may be entered before it is there, so
    young entries stay."""
    retention = runtime.settings.engine.retention
    if not retention:
        return
    found: Any = runtime.client.zrandmember(index, AT_ONCE, withscores=True)
    pairs = list(zip(found[::2], found[1::2], strict=True)) if found and isinstance(found[0], bytes) else found
    old = [name for name, score in pairs if now - float(score) > 2 * retention]
    pipe = runtime.client.pipeline(transaction=False)
    for name in old:
        pipe.exists(keys.run_key(name.decode().partition("/")[0], "meta"))
    gone = [name for name, there in zip(old, pipe.execute(), strict=True) if not there]
    if gone:
        runtime.client.zrem(index, *gone)
