"""The policies of the fleet and of the pools in a simulation: thousands of steps and workers, hours in seconds.

One event after another, by a clock of its own. Steps ask the pools before they are queued. Workers take from queues as
Redis hands out messages: who has a free slot takes the most urgent step of the queues that it takes from, of those the
oldest. Every so often all of them look, as the engine does, and do what the policies say; nothing in here decides.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from itertools import count
from statistics import fmean

from orchestrator.bench.pool_model import PoolModel
from orchestrator.engine_fleet import FleetRules
from orchestrator.fleet.models import Decision, Fleet, Queue, Standing, Worker
from orchestrator.fleet.policy import capacities, distribute, health, release
from orchestrator.resources.models import Ask, Numbered, lease_id
from orchestrator.resources.policy import Spec

LOOK = 10.0
REMEMBERED = 10


@dataclass
class Step:
    """A step that has waited since `at`; it takes `seconds` on a worker of usual speed, and `demand` of the pools. It
    comes when the `needs` steps before it have ended, and lets `then` come."""

    queue: str
    seconds: float
    at: float = 0.0
    needs: int = 0
    then: list[Step] = field(default_factory=list)
    priority: int = 0
    demand: str = ""
    name: str = ""


@dataclass
class Host:
    """A worker of the simulation: what the policies know of it, and how fast it really is."""

    worker: Worker
    speed: float = 1.0
    ratios: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    busy: int = 0
    was_busy: bool = False


class Simulation:
    """Runs steps that arrive over time on hosts, until all are done. `usual`: what a step of a queue is known to take
    before any has run; `look`: how often everybody looks, in seconds; `pools`: what steps have to be granted."""

    def __init__(
        self,
        rules: FleetRules,
        hosts: Sequence[Host],
        queues: Sequence[str],
        *,
        look: float = LOOK,
        usual: Mapping[str, float] | None = None,
        pools: PoolModel | None = None,
    ) -> None:
        self.rules, self.now = rules, 0.0
        self.hosts = {host.worker.name: host for host in hosts}
        self.waiting: dict[str, list[tuple[int, float, int, Step]]] = {name: [] for name in queues}
        self.taken: dict[str, list[float]] = {name: [(usual or {}).get(name, 1.0)] for name in queues}
        self._every, self._pools, self._asked = look, pools or PoolModel({}, Spec(ageing=30_000)), dict[str, Step]()
        self.decisions: list[tuple[float, Decision]] = []
        self.waits: list[float] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._left, self._ended = 0, 0.0

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Do it then."""
        heappush(self._events, (when, next(self._order), what))

    def run(self, steps: Sequence[Step]) -> float:
        """The moment at which the last step ends."""
        for step in steps:
            if not step.needs:
                self.at(step.at, partial(self._arrives, step))
        self.at(self._every, self._look)
        self._left = len(steps)
        self._open()
        while self._left:
            self.now, _, what = heappop(self._events)
            what()
        return self._ended

    def _ends(self, host: Host, step: Step) -> None:
        host.busy -= 1
        host.ratios.append(1 / host.speed)
        self.taken[step.queue].append(step.seconds / host.speed)
        self._left, self._ended = self._left - 1, self.now
        if step.demand:
            self._exchange(returned=[(lease_id("run", step.name), 1)])
        for later in step.then:
            later.needs -= 1
            if not later.needs:
                later.at = self.now
                self._arrives(later)
        self._serve(host)

    def _arrives(self, step: Step) -> None:
        """It is queued, or asks for what it needs before."""
        if not step.demand:
            self._queued(step)
            return
        name = lease_id("run", step.name)
        self._asked[name] = step
        ms = round(1000 * step.seconds)
        self._exchange([Ask(name, 1, step.demand, step.priority, "run", 1.0, ms, step.queue)])

    def _exchange(self, asks: Sequence[Ask] = (), returned: Sequence[Numbered] = ()) -> None:
        self._pools.now = round(1000 * self.now)
        for name, _ in self._pools.exchange(asks, returned):
            self._queued(self._asked.pop(name))

    def _queued(self, step: Step) -> None:
        """The host that has waited longest for a message gets it; those in the list may be busy by now."""
        free = self.free[step.queue]
        while free:
            host = free.popleft()
            if step.queue in host.worker.takes and host.busy < host.worker.slots:
                self._start(host, step)
                if host.busy < host.worker.slots:
                    free.append(host)
                return
        heappush(self.waiting[step.queue], (-step.priority, step.at, next(self._order), step))

    def _serve(self, host: Host) -> None:
        """A host takes what is next of all that waits in its queues, as long as it has room, and then waits itself."""
        while host.busy < host.worker.slots:
            heads = [self.waiting[name] for name in host.worker.takes if self.waiting[name]]
            if not heads:
                for name in host.worker.takes:
                    self.free[name].append(host)
                return
            self._start(host, heappop(min(heads))[3])

    def _start(self, host: Host, step: Step) -> None:
        self.waits.append(self.now - step.at)
        host.busy += 1
        self.at(self.now + step.seconds / host.speed, partial(self._ends, host, step))

    def _open(self) -> None:
        """Everybody takes what its queues have, and waits in their order."""
        self.free: dict[str, deque[Host]] = {name: deque() for name in self.waiting}
        for host in self.hosts.values():
            self._serve(host)

    def _look(self) -> None:
        for host in self.hosts.values():
            own = any(self.waiting[name] for name in host.worker.home)
            idle = not host.busy and not host.was_busy and not own
            slowness = fmean(host.ratios) if host.ratios else 1.0
            seen = {"busy": host.busy, "idle": idle, "samples": len(host.ratios), "slowness": slowness}
            if any(getattr(host.worker, name) != value for name, value in seen.items()):
                host.worker = host.worker.model_copy(update=seen)
            host.was_busy = host.busy > 0
        queues = {
            name: Queue(depth=len(steps), seconds=sum(self.taken[name][-64:]) / len(self.taken[name][-64:]))
            for name, steps in self.waiting.items()
        }
        fleet = Fleet(now=self.now, workers={name: host.worker for name, host in self.hosts.items()}, queues=queues)
        slots, steals = capacities(fleet), distribute(self.rules, fleet)
        for name, host in self.hosts.items():
            made = release(self.rules, fleet, fleet.workers[name], slots)
            change = health(self.rules, fleet, fleet.workers[name])
            made += [change] if change else [steals[name]] if name in steals else []
            for decision in made:
                self._act(host, decision)
        self.at(self.now + self._every, self._look)
        self._open()

    def _act(self, host: Host, decision: Decision) -> None:
        self.decisions.append((self.now, decision))
        worker, now = host.worker, self.now
        borrowed, rested = dict(worker.borrowed), dict(worker.rested)
        change: dict[str, object] = {}
        match decision.act:
            case "steal":
                borrowed[decision.queue] = now
            case "release":
                rested[decision.queue] = now
                del borrowed[decision.queue]
            case "drain":
                borrowed = {}
                change = {"standing": Standing.DRAINED, "since": now, "drains": worker.drains + 1}
            case "probe":
                host.ratios.clear()
                change = {"standing": Standing.PROBING, "since": now}
            case "readmit":
                change = {"standing": Standing.ACTIVE, "since": now, "drains": 0}
        host.worker = worker.model_copy(update={"borrowed": borrowed, "rested": rested, **change})

    def acts(self, kind: str, worker: str = "") -> list[float]:
        """When that was decided."""
        return [at for at, one in self.decisions if one.act == kind and worker in ("", one.worker)]


def hosts(homes: Sequence[str], every: Sequence[str], slots: int = 2) -> list[Host]:
    """A host for each of the homes, that may serve every queue."""
    return [
        Host(Worker(name=f"w{number:04}", home=(home,), serves=tuple(set(every) - {home}), slots=slots))
        for number, home in enumerate(homes)
    ]
