"""Our `worker_autoscaler`: a prefork pool follows what waits in its queues, not only what its worker has taken.

A worker takes as many messages as it has processes, so that what waits stays where others can take it. It asks Redis
only while all of them are busy: with room, it would have taken what waits.
"""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import Any, Literal

from celery.worker import autoscale
from celery.worker import state as worker_state

from orchestrator.engine.depths import depths
from orchestrator.engine.runtime import log, runtime_of
from orchestrator.errors import OrchestratorError
from orchestrator.fleet import policy, store
from orchestrator.fleet.models import Decision
from orchestrator.fleet.policy import Load
from orchestrator.workflow.models import DEFAULT_STEP_SECONDS

LOOK_SECONDS = 1.0
"""How often a worker looks by its timer; a message that fills the pool makes it look sooner."""
SOONEST_SECONDS = 0.2


class Autoscaler(autoscale.Autoscaler):
    """Grows by predicted work, shrinks after a cool-down, and ends only processes that have nothing to do."""

    def __init__(
        self, pool: Any, max_concurrency: int, min_concurrency: int = 0, worker: Any = None, mutex: Any = None
    ) -> None:
        super().__init__(pool, max_concurrency, min_concurrency, worker=worker, keepalive=LOOK_SECONDS, mutex=mutex)
        worker.max_concurrency = None  # or its consumer would take so many messages from the start
        self._rules = runtime_of(worker.app).settings.fleet
        self._looked_at = self._changed_at = self._took_at = monotonic()
        self._taken = 0
        self._newest: deque[tuple[float, int]] = deque()

    def maybe_scale(self, req: Any = None) -> None:
        """Called with every message and by a timer, on the worker's main loop: never raises."""
        now = monotonic()
        if now - self._looked_at < (SOONEST_SECONDS if req is not None else LOOK_SECONDS / 2):
            return
        self._looked_at = now
        try:
            self._follow(now)
        except OrchestratorError as error:
            log.warning("autoscaler: %s", error)
        except Exception:  # noqa: BLE001 - the main loop goes on whatever happens here
            log.exception("autoscaler")

    def _follow(self, now: float) -> None:
        notices = runtime_of(self.worker.app).notices
        busy = max(0, self.qty - notices.waiting)
        self._newest.append((now, busy))
        while self._newest[0][0] < now - self._rules.scale_cooldown:
            self._newest.popleft()
        full, taken = busy >= self.processes, sum(worker_state.total_count.values()) + notices.begun
        if not full or taken != self._taken:
            self._taken, self._took_at = taken, now
        may_grow = full and self.processes < self.max_concurrency
        tuning = runtime_of(self.worker.app).tuning
        depth, seconds = self._backlog() if may_grow else (int(full), 0.0)
        load = Load(
            processes=self.processes,
            busy=busy,
            peak=max(number for _, number in self._newest),
            depth=depth,
            seconds=seconds,
            least=self.min_concurrency,
            most=self.max_concurrency,
            settled=now - self._changed_at >= self._rules.scale_cooldown,
            waited=now - self._took_at,  # behind a step that takes longer than usual
            hurries=tuning.hurries,
            narrows=tuning.narrows,
        )
        target, reason = policy.scale(self._rules, load)
        before = self.processes
        if target > before:
            self._grow(target - before)
        elif target < before:
            self._shrink(before - target)
        if self.processes != before:
            self._changed_at = now
            self._tell(before, reason)

    def _backlog(self) -> tuple[int, float]:
        """How many messages wait in the queues of this worker, and what one takes on average; when none does, what the
        slowest of its queues takes."""
        app = self.worker.app
        waiting = depths(app, app.amqp.queues.consume_from)
        known = runtime_of(app).queue_seconds
        seconds = {name: known.get(name, DEFAULT_STEP_SECONDS) for name in waiting}
        depth = sum(waiting.values())
        work = sum(number * seconds[name] for name, number in waiting.items())
        return depth, work / depth if depth else max(seconds.values(), default=0.0)

    def _tell(self, before: int, reason: str) -> None:
        runtime = runtime_of(self.worker.app)
        act: Literal["grow", "shrink"] = "grow" if self.processes > before else "shrink"
        told = f"{before} → {self.processes} processes: {reason}"
        log.info("fleet: %s %s: %s", runtime.hostname, act, told)
        store.keep(runtime.client, [Decision(act=act, worker=runtime.hostname, reason=told)])

    def _grow(self, n: int) -> None:
        pool: Any = self.pool
        pool.grow(n)
        pool.maintain_pool()
        self._take(n)

    def _shrink(self, n: int) -> None:
        """End at most `n` processes, of those without a job alone: neither running, nor written to, nor on its way."""
        ended = 0
        for process in idle_processes(self.pool)[:n]:
            end_process(self.pool, process)
            ended += 1
        if ended:
            self._take(-ended)

    def _take(self, change: int) -> None:
        consumer = self.worker.consumer
        if consumer is not None and consumer.qos is not None:
            consumer._update_prefetch_count(change)

    def _update_consumer_prefetch_count(self, new_max: int) -> None:
        """Of `celery control autoscale`: the number of messages follows the processes, not the bounds."""


def idle_processes(pool: Any) -> list[Any]:
    """Processes of a prefork pool that are up and have no job. Call it on the main loop, where jobs are given out."""
    inner = pool._pool
    waited_for = {job._write_to or job._scheduled_for for job in inner._cache.values() if not job.ready()}
    taken = inner._busy_workers | inner._active_writes
    return [
        process
        for process in inner._pool
        if process.inqW_fd in inner._all_inqueues and process.inqW_fd not in taken and process not in waited_for
    ]


def end_process(pool: Any, process: Any) -> None:
    """End a process for good. No job is written to it any more from here on, even before it is gone."""
    inner = pool._pool
    inner._all_inqueues.discard(process.inqW_fd)
    inner._processes -= 1
    if inner._putlock:
        inner._putlock.shrink()
    process.terminate_controlled()
