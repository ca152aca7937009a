"""Who should do what in a fleet, as values: no clock, no Redis.

Every worker decides for itself from what all of them have told. The same snapshot gives every worker the same answer,
so that they need no leader: of several that could help out, the least loaded ones do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil, inf
from statistics import median

from msgspec import Struct

from orchestrator.engine_fleet import FleetRules
from orchestrator.fleet.models import Decision, Fleet, Standing, Worker

LETS_GO_BELOW = 0.5
"""Share of `steal_above` below which a borrowed queue needs no help any more."""
BACK_IN_BAND = 0.7
"""Share of a band's edge that a worker on probation has to stay below."""
MOST_DRAINED = 3
"""One worker of a queue may step back, and more only as long as they are not more than one of so many."""
LONGEST_PAUSE = 32
"""So many times `probe_after` is the longest pause before a worker is tried again."""


class Load(Struct, frozen=True):
    """One worker's pool: it has taken `busy` steps for its `processes`, at most `peak` lately; `depth` steps of
    `seconds` each wait in its queues, and none was taken for `waited` seconds. It may have `least` to `most`
    processes. `settled`: none has come or gone for the cool-down. `hurries` and `narrows` as the worker's alarms say
    (`metrics.policy.Tuning`)."""

    processes: int
    busy: int
    peak: int
    depth: int
    seconds: float
    least: int
    most: int
    settled: bool
    waited: float = 0.0
    hurries: bool = False
    narrows: bool = False


def scale(rules: FleetRules, load: Load) -> tuple[int, str]:
    """How many processes a pool should have, and why; the present number when nothing is to be done."""
    half = max(load.least, ceil(load.most / 2))
    if load.narrows and load.processes >= half:
        return half, "memory is short: half as many steps side by side"
    depth = load.depth + max(0, load.busy - load.processes)  # what it took with more processes waits here as well
    if load.hurries and depth and load.busy >= load.processes < load.most:
        return load.most, f"{depth} steps wait, and there is an alarm"
    wait = max(depth * load.seconds / max(1, load.processes), load.waited)
    if load.processes < load.least:
        return load.least, f"at least {load.least}"
    if depth and load.busy >= load.processes < load.most and wait > rules.target_wait:
        wanted = max(1, ceil(depth * load.seconds / rules.target_wait))
        target = min(half if load.narrows else load.most, load.processes + min(depth, wanted))
        return target, f"{depth} steps wait, about {wait:.3g} s with {load.processes} processes"
    needed = max(load.least, load.peak)
    if load.settled and not depth and not load.hurries and needed < load.processes:
        return needed, f"no more than {load.peak} were busy in {rules.scale_cooldown:g} s"
    return load.processes, ""


def least_loaded(workers: Iterable[Worker]) -> list[Worker]:
    """The least loaded instance first: by share of busy slots, then by what it has helped out with, then the
    fastest."""
    return sorted(workers, key=lambda one: (one.busy / max(1, one.slots), len(one.borrowed), one.slowness, one.name))


def capacities(fleet: Fleet) -> dict[str, int]:
    """Queue -> slots that take from it."""
    slots: dict[str, int] = {}
    for worker in fleet.workers.values():
        for queue in worker.takes:
            slots[queue] = slots.get(queue, 0) + worker.slots
    return slots


def waits(fleet: Fleet, slots: Mapping[str, int]) -> dict[str, float]:
    """Queue -> predicted seconds until its last step starts; infinite when nobody takes from it."""
    return {
        name: queue.work / slots[name] if slots.get(name) else (inf if queue.work else 0.0)
        for name, queue in fleet.queues.items()
    }


def distribute(rules: FleetRules, fleet: Fleet) -> dict[str, Decision]:
    """Worker -> the queue that it helps out with from now on: idle workers go where the predicted wait is longest, as
    many as it takes to bring that down to `steal_above`."""
    if not rules.work_stealing:
        return {}
    slots = capacities(fleet)
    predicted = waits(fleet, slots)
    idle = least_loaded(
        worker
        for worker in fleet.workers.values()
        if worker.idle and worker.standing is Standing.ACTIVE and not worker.borrowed
    )
    found: dict[str, Decision] = {}
    for name in sorted(predicted, key=lambda name: (-predicted[name], name)):
        if predicted[name] <= rules.steal_above:
            break
        missing = min(ceil(fleet.queues[name].work / rules.steal_above), fleet.queues[name].depth) - slots.get(name, 0)
        for worker in idle:
            if missing <= 0:
                break
            if worker.name not in found and name in worker.serves and _rested(rules, fleet.now, worker, name):
                reason = f"idle; {fleet.queues[name].depth} steps wait there, predicted {predicted[name]:.3g} s"
                found[worker.name] = Decision(act="steal", worker=worker.name, queue=name, reason=reason)
                missing -= worker.slots
    return found


def _rested(rules: FleetRules, now: float, worker: Worker, queue: str) -> bool:
    if queue in worker.home or queue in worker.borrowed:
        return False
    return now - worker.rested.get(queue, -inf) >= rules.hold


def release(rules: FleetRules, fleet: Fleet, worker: Worker, slots: Mapping[str, int]) -> list[Decision]:
    """The borrowed queues that a worker lets go: its own need it, or they no longer need help."""
    found = []
    waiting = [name for name in worker.home if name in fleet.queues and fleet.queues[name].depth]
    for name, since in worker.borrowed.items():
        queue = fleet.queues.get(name)
        others = slots.get(name, 0) - worker.slots
        wait = 0.0 if queue is None or not queue.work else queue.work / others if others > 0 else inf
        if waiting and worker.busy >= worker.slots:
            reason = f"{fleet.queues[waiting[0]].depth} steps wait in its own queue {waiting[0]}"
        elif fleet.now - since >= rules.hold and wait < rules.steal_above * LETS_GO_BELOW:
            reason = f"the wait there is predicted to be {wait:.3g} s without it"
        else:
            continue
        found.append(Decision(act="release", worker=worker.name, queue=name, reason=reason))
    return found


def health(rules: FleetRules, fleet: Fleet, worker: Worker) -> Decision | None:
    """Whether a worker steps back, is tried again, or is one of the others again."""
    if not rules.health_routing:
        return None
    if worker.standing is Standing.DRAINED:
        return _after_rest(rules, fleet, worker)
    if worker.samples < rules.least_samples:
        return None
    if worker.standing is Standing.PROBING:
        return _on_probation(rules, fleet, worker)
    complaint = _complaint(rules, fleet, worker)
    if not complaint or not _dispensable(rules, fleet, worker):
        return None
    return Decision(act="drain", worker=worker.name, reason=complaint)


def _after_rest(rules: FleetRules, fleet: Fleet, worker: Worker) -> Decision | None:
    pause = rules.probe_after * min(LONGEST_PAUSE, 2 ** max(0, worker.drains - 1))
    if fleet.now - worker.since < pause:
        return None
    return Decision(act="probe", worker=worker.name, reason=f"has rested for {fleet.now - worker.since:.0f} s")


def _on_probation(rules: FleetRules, fleet: Fleet, worker: Worker) -> Decision:
    complaint = _complaint(rules, fleet, worker, BACK_IN_BAND)
    if complaint:
        return Decision(act="drain", worker=worker.name, reason=f"still {complaint}")
    return Decision(
        act="readmit", worker=worker.name, reason=f"{worker.samples} attempts on probation were in the band"
    )


def _complaint(rules: FleetRules, fleet: Fleet, worker: Worker, share: float = 1.0) -> str:
    if worker.slowness <= rules.slow_factor * share and worker.failures < rules.failure_share * share:
        return ""  # whatever the others do
    peers = [one for one in _peers(fleet, worker) if one.samples >= rules.least_samples]
    usual = median([one.slowness for one in peers]) if peers else 1.0
    failing = median([one.failures for one in peers]) if peers else 0.0
    if worker.slowness > max(1.0, usual) * rules.slow_factor * share:
        return f"{worker.slowness:.2g} times as slow as usual, the others {usual:.2g} times"
    if worker.failures >= rules.failure_share * share and failing < rules.failure_share / 2:
        return f"{worker.failures:.0%} of its attempts fail, of the others' {failing:.0%}"
    return ""


def _peers(fleet: Fleet, worker: Worker) -> list[Worker]:
    """The others that take from one of its queues."""
    mine = set(worker.home)
    return [
        one
        for one in fleet.workers.values()
        if one.name != worker.name and one.standing is Standing.ACTIVE and mine & set(one.takes)
    ]


def _dispensable(rules: FleetRules, fleet: Fleet, worker: Worker) -> bool:
    """Whether the others can do without it: somebody takes from each of its queues, not too many have stepped back
    already, and none of the others should do so first."""
    peers = _peers(fleet, worker)
    served = {queue for one in peers for queue in one.takes}
    mine = set(worker.home)
    away = sum(one.standing is not Standing.ACTIVE and bool(mine & set(one.home)) for one in fleet.workers.values())
    worse = any(
        (one.slowness, one.failures, one.name) > (worker.slowness, worker.failures, worker.name)
        for one in peers
        if one.samples >= rules.least_samples and _complaint(rules, fleet, one)
    )
    few = away == 0 or (away + 1) * MOST_DRAINED <= len(peers) + away + 1
    return mine <= served and few and not worse
