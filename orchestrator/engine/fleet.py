"""A worker's part in the fleet: every `sampling_interval` it tells how it does, hears of the others, decides by the
policies what to do itself, and does it. A queue is helped out with by consuming from it, and left by cancelling
that."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Mapping
from functools import partial
from statistics import fmean
from time import monotonic
from typing import Any

from celery import Celery
from celery.worker import state as worker_state

from orchestrator.engine.agent import REGISTRY
from orchestrator.engine.depths import depths
from orchestrator.engine.routing import CONTROL, agent_queue
from orchestrator.engine.runtime import log, runtime_of
from orchestrator.engine_blocks import ResourceManager
from orchestrator.fleet import learning, policy, store
from orchestrator.fleet.learning import WEIGHT, Durations, Sample, quantile
from orchestrator.fleet.models import Decision, Fleet, Queue, Standing, Worker
from orchestrator.metrics import thresholds
from orchestrator.metrics.policy import tune
from orchestrator.metrics.thresholds import Metric, Thresholds
from orchestrator.workflow.models import DEFAULT_STEP_SECONDS

REMEMBERED = 10
"""A worker's health is that of so many attempts, the newest."""
NOISE_SECONDS = 0.05
"""Added on both sides when durations are compared: what takes milliseconds may take a few more."""
OUTLIER = 10.0
"""A single attempt counts as no more than so many times as slow as usual: a few odd ones are no sick worker."""
SILENT_LOOKS = 3
ROUND_TRIPS = 2
"""An attempt begins and ends with one each; what its agent reads comes on top."""
_POOLS = {"prefork": "prefork", "thread": "threads", "gevent": "gevent"}


class FleetMember:
    """One worker's view, from a thread of its main process. `consumer` is Celery's, which takes the messages; `queues`
    are those that the worker was started for."""

    def __init__(self, consumer: Any, queues: Iterable[str]) -> None:
        self._consumer = consumer
        self._app: Celery = consumer.app
        self._runtime = runtime_of(consumer.app)
        settings = self._runtime.settings
        self._rules = settings.fleet
        interval = settings.resource_manager.load_balancing.resource_monitoring.sampling_interval
        self._silence = max(SILENT_LOOKS * interval, 2 * settings.engine.lease_seconds)
        self._agents: dict[str, list[str]] = {}
        for agent in REGISTRY.values():
            self._agents.setdefault(agent_queue(agent.queue), []).append(agent.name)
        home = tuple(sorted(set(queues) - {CONTROL}))
        self.worker = Worker(name=self._runtime.hostname, home=home, serves=self._may_serve(home))
        self._durations: Durations = {}
        self._newest: deque[tuple[Sample, float]] = deque(maxlen=REMEMBERED)
        self._learner = learning.Learner(self._runtime.client)
        self._taken = -1
        self._looks = 0
        self._round_trip = 0.0
        self._thresholds = Thresholds(self._runtime.client, _limits(settings.resource_manager))

    def _may_serve(self, home: Iterable[str]) -> tuple[str, ...]:
        """The queues of other classes whose agents this process has, that share their work, and whose pool is of its
        kind."""
        workers = self._runtime.settings.workers
        kind = _POOLS.get(type(self._consumer.pool).__module__.rpartition(".")[2], "")
        mine = {queue.removeprefix(agent_queue("")) for queue in home}
        others = {agent.queue for agent in REGISTRY.values()} - mine
        if not all(workers.of(name).steals for name in mine):
            return ()
        kinds = {name: workers.of(name) for name in others}
        return tuple(sorted(agent_queue(name) for name, one in kinds.items() if one.shared and one.pool == kind))

    def look(self) -> None:
        """Tell, hear, decide, act: two round trips, and more only when something was done or changes."""
        runtime = self._runtime
        runtime.segments.sweep()
        samples = runtime.samples.take()
        self._learner.keep(samples)
        waiting = depths(self._app, {*self._agents, *self.worker.home})
        if samples or any(waiting.values()):
            self._durations = learning.durations(runtime.client)
        self._remember(samples)
        queues = {name: Queue(depth=depth, seconds=self._seconds(name)) for name, depth in waiting.items()}
        runtime.queue_seconds = {name: queue.seconds for name, queue in queues.items()}
        self.worker = self._measured(self._now(waiting))
        asked = monotonic()
        now, lost, workers = store.tell(runtime.client, self.worker, self._silence)
        took = monotonic() - asked
        self._round_trip += (WEIGHT if self._round_trip else 1.0) * (took - self._round_trip)
        self._watch(waiting)
        made = [self._lost(name) for name in lost]
        made += self._decide(Fleet(now=now, workers=workers, queues=queues))
        for decision in made:
            log.info("fleet: %s %s %s: %s", decision.worker, decision.act, decision.queue, decision.reason)
        store.keep(runtime.client, made)

    def leave(self) -> None:
        """The worker stops in order: keep what is left, and be forgotten at once."""
        self._learner.keep(self._runtime.samples.take())
        store.forget(self._runtime.client, self.worker.name)
        thresholds.forget(self._runtime.client, self.worker.name)

    def _seconds(self, queue: str) -> float:
        return learning.mean_seconds(self._durations, self._agents.get(queue, ())) or DEFAULT_STEP_SECONDS

    def _watch(self, waiting: Mapping[str, int]) -> None:
        """Compare with the alarms' thresholds: its own figures, and the queues, which every worker sees."""
        name, worker = self.worker.name, self.worker
        seen: list[tuple[Metric, str, float]] = [
            ("cpu_usage", name, worker.cpu),
            ("memory_usage", name, worker.memory),
            ("response_time", name, worker.response),
            *(("queue_depth", queue, depth) for queue, depth in waiting.items()),
        ]
        for metric, subject, value in seen:
            alert = self._thresholds.see(metric, subject, value)
            if alert is not None:
                log.log(logging.WARNING if alert.severity == "warning" else logging.INFO, "alert: %s", alert.message)
        runtime = self._runtime
        runtime.tuning = tune(runtime.settings.performance_monitoring, self._thresholds.alarms({name, *worker.home}))
        runtime.notices.hoarding = runtime.tuning.hoards

    def _lost(self, name: str) -> Decision:
        thresholds.forget(self._runtime.client, name)
        reason = f"silent for more than {self._silence:g} s; others get its steps as their leases end"
        return Decision(act="lost", worker=name, reason=reason)

    def _remember(self, samples: Iterable[Sample]) -> None:
        for sample in samples:
            usual = next(
                (
                    found.p50
                    for name in (f"{sample.agent}/{sample.size}", sample.agent)
                    if (found := self._durations.get(name)) is not None and found.count >= learning.NEEDED
                ),
                sample.seconds,
            )
            self._newest.append((sample, (sample.seconds + NOISE_SECONDS) / (usual + NOISE_SECONDS)))

    def _now(self, waiting: Mapping[str, int]) -> Worker:
        import psutil  # in a thread, when the worker takes steps already

        notices = self._runtime.notices
        busy = max(0, len(worker_state.active_requests) - notices.waiting)
        taken = sum(worker_state.total_count.values()) + notices.begun
        idle = not busy and taken == self._taken and not any(waiting.get(name) for name in self.worker.home)
        self._taken = taken
        scaler = getattr(self._consumer.controller, "autoscaler", None)
        slots = slots_of(self._consumer.pool) if scaler is None else int(scaler.max_concurrency)
        return self.worker.model_copy(
            update={"busy": busy, "idle": idle, "done": taken, "slots": slots, **self._health(),
                    "cpu": psutil.cpu_percent(), "memory": psutil.virtual_memory().percent}
        )  # fmt: skip

    def _measured(self, worker: Worker) -> Worker:
        """The system metrics that the settings name."""
        rules, before = self._runtime.settings.performance_monitoring, self.worker
        change: dict[str, Any] = {}
        if rules.measures("cpu_utilization_average") and self._looks:  # the first look is since no other
            average = before.cpu_average or 0.0
            change["cpu_average"] = round(average + (worker.cpu - average) / self._looks, 2)
        if rules.measures("memory_usage_peak"):
            change["memory_peak"] = max(before.memory_peak or 0.0, worker.memory)
        if rules.measures("network_latency_impact") and worker.samples:
            network = ROUND_TRIPS * self._round_trip
            change["network_share"] = round(100 * network / max(network, worker.response), 2)
        self._looks += 1
        return worker.model_copy(update=change)

    def _health(self) -> Mapping[str, Any]:
        seconds = [sample.seconds for sample, _ in self._newest]
        if not seconds:
            return {"samples": 0, "response": 0.0, "p95": 0.0, "slowness": 1.0, "failures": 0.0}
        response = seconds[0]
        for one in seconds[1:]:
            response += WEIGHT * (one - response)
        good = [min(ratio, OUTLIER) for sample, ratio in self._newest if sample.ok]
        return {
            "samples": len(seconds),
            "response": round(response, 4),
            "p95": quantile(seconds, 0.95),
            "slowness": round(fmean(good), 3) if good else 1.0,
            "failures": round(1 - len(good) / len(seconds), 3),
        }

    def _decide(self, fleet: Fleet) -> list[Decision]:
        slots = policy.capacities(fleet)
        made = policy.release(self._rules, fleet, self.worker, slots)
        change = policy.health(self._rules, fleet, self.worker)
        if change is not None:
            made.append(change)
        elif self.worker.idle:
            made += [one for name, one in policy.distribute(self._rules, fleet).items() if name == self.worker.name]
        for decision in made:
            self._act(decision, fleet.now)
        return made

    def _act(self, decision: Decision, now: float) -> None:
        worker = self.worker
        match decision.act:
            case "steal":
                self._take(decision.queue)
                change: dict[str, Any] = {"borrowed": {**worker.borrowed, decision.queue: now}}
            case "release":
                self._leave(decision.queue)
                kept = {name: since for name, since in worker.borrowed.items() if name != decision.queue}
                change = {"borrowed": kept, "rested": {**worker.rested, decision.queue: now}}
            case "drain":
                self._leave(*worker.home, *worker.borrowed)
                self._runtime.notices.drained = True
                change = {"standing": Standing.DRAINED, "since": now, "drains": worker.drains + 1, "borrowed": {}}
            case "probe":
                self._newest.clear()
                self._take(*worker.home)
                self._runtime.notices.drained = False
                change = {"standing": Standing.PROBING, "since": now, "samples": 0}
            case "readmit":
                change = {"standing": Standing.ACTIVE, "since": now, "drains": 0}
            case _:
                return
        self.worker = worker.model_copy(update=change)

    def _take(self, *queues: str) -> None:
        for name in queues:
            self._consumer.call_soon(partial(self._consumer.add_task_queue, name))

    def _leave(self, *queues: str) -> None:
        for name in queues:
            self._consumer.call_soon(partial(self._consumer.cancel_task_queue, name))


def _limits(manager: ResourceManager) -> Mapping[Metric, float]:
    monitoring = manager.load_balancing.resource_monitoring
    return {metric: float(getattr(monitoring.alert_thresholds, metric)) for metric in monitoring.metrics}


def slots_of(pool: Any) -> int:
    """How many messages a worker's pool works on at a time."""
    return int(getattr(pool, "num_processes", 0) or getattr(pool, "limit", 0) or 1)
