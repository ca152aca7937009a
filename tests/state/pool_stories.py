"""Random stories of runs and pools together, in which every second step may be skipped, as by a crash: what the ledger
lets run never needs more than there is, and in the end nothing is left."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from celery import Celery

from orchestrator import keys
from orchestrator.demand import parse_demand
from orchestrator.engine import admission, recovery
from orchestrator.engine.join import follow
from orchestrator.engine.runtime import runtime_of
from orchestrator.resources.models import Numbered, lease_id, of_lease
from orchestrator.run.nodes import compile_nodes
from orchestrator.run.replies import Moved
from orchestrator.run.shape import Shape
from orchestrator.workflow.models import Resources, StepSpec, WorkflowSpec
from orchestrator.workflow.plan import make_plan

SIZES = ((15, 15), (30, 25), (60, 50), (110, 5), (0, 95), (0, 0))
CRASH = 0.3


class Story:
    """A few runs on one database. Nobody consumes their messages: the story claims and ends steps itself."""

    def __init__(self, app: Celery, seed: int, crash: float = CRASH) -> None:
        self.app, self.runtime, self.chance, self.crash = app, runtime_of(app), random.Random(seed), crash
        self.client: Any = self.runtime.client
        self.client.flushdb()
        self.runs: list[str] = []
        self.late: list[Numbered] = []
        self.capacity = self.runtime.settings.capacity

    def act(self) -> None:
        """One thing happens to one of the runs."""
        acts: list[Callable[[], None]] = [self.submit, self.claim, self.claim, self.end, self.end, self.retry,
                                          self.pause, self.resume, self.cancel, self.sweep, self.ask_again,
                                          self.hear_late]  # fmt: skip
        self.chance.choice(acts)()
        self.check()

    def submit(self) -> None:
        if len(self.runs) > 6:
            return
        names = [f"s{number}" for number in range(self.chance.randrange(1, 5))]
        steps = []
        for at, name in enumerate(names):
            cpu, memory = self.chance.choice(SIZES)
            steps.append(StepSpec(id=name, agent="noop", needs=tuple(self.chance.sample(names[:at], min(at, 1))),
                                  resources=Resources(cpu=float(cpu), memory=float(memory))))  # fmt: skip
        run_id = f"{len(self.runs):016x}"
        plan = make_plan(WorkflowSpec(name="story", steps=tuple(steps)))
        nodes = compile_nodes(plan, lambda agent: agent, Shape.of(self.runtime.settings))
        self.runs.append(run_id)
        self._then(run_id, self.runtime.ledger.create(run_id, nodes, workflow="story", spec="{}", inputs={}))

    def _then(self, run_id: str, moved: object) -> None:
        """What follows a transition; or a crash, before or after the pools heard of it."""
        if not isinstance(moved, Moved):
            return
        if self.chance.random() >= self.crash:
            follow(self.app, run_id, moved)
        elif self.chance.random() < 0.5:
            asks = [admission._ask(run_id, definition, number) for definition, number in moved.asking]
            self.late += self.runtime.pools.exchange(asks, admission._returned(run_id, moved.freed)).granted

    def steps(self, *states: str) -> list[tuple[str, str, dict[str, str]]]:
        """(run, step, fields) of all steps in these states."""
        pipe = self.client.pipeline(transaction=False)
        for run_id in self.runs:
            pipe.hkeys(keys.run_key(run_id, "defs"))
        every = [(run_id, step.decode()) for run_id, names in zip(self.runs, pipe.execute(), strict=True)
                 for step in names]  # fmt: skip
        for run_id, step in every:
            pipe.hgetall(keys.run_key(run_id, f"s:{step}"))
        found = []
        for (run_id, step), raw in zip(every, pipe.execute(), strict=True):
            fields = {name.decode(): value.decode() for name, value in raw.items()}
            if fields["state"] in states:
                found.append((run_id, step, fields))
        return found

    def claim(self) -> None:
        for run_id, step, _ in self.steps("queued")[:1]:
            self.runtime.ledger.claim(run_id, step, worker="w", owner="w", lease=100)

    def end(self, state: str = "") -> None:
        for run_id, step, fields in self.steps("running")[:1]:
            state = state or self.chance.choice(("success", "success", "failed", "retrying"))
            self._then(run_id, self.runtime.ledger.finish(run_id, step, state, token=int(fields["token"])))

    def retry(self) -> None:
        for run_id, step, _ in self.steps("retrying")[:1]:
            recovery.again(self.app, run_id, step, {}, found="retrying")

    def ask_again(self) -> None:
        """As a sweep does for whoever has no answer."""
        for run_id, step, fields in self.steps("ready"):
            if "asking" in fields:
                recovery.again(self.app, run_id, step, {}, found="ready")

    def hear_late(self) -> None:
        """Whoever was told of a grant, and stood still since then, queues the step."""
        if self.late:
            name, number = self.late.pop(self.chance.randrange(len(self.late)))
            run_id, step = of_lease(name)
            admission.exchange(self.app, (), admission._grant(self.app, self.runtime, run_id, [(step, number)]))

    def _any(self) -> str:
        return self.chance.choice(self.runs) if self.runs else "none"

    def pause(self) -> None:
        run_id = self._any()
        self._then(run_id, self.runtime.ledger.pause(run_id))

    def resume(self) -> None:
        run_id = self._any()
        self._then(run_id, self.runtime.ledger.resume(run_id))

    def cancel(self) -> None:
        if self.chance.random() < 0.2:
            run_id = self._any()
            self._then(run_id, self.runtime.ledger.stop(run_id, "cancelled", reason="", grace=100))

    def sweep(self) -> None:
        admission.sweep(self.app)

    def check(self) -> None:
        """What steps that may run need is there, and the pools' sums are those of their leases."""
        needed: dict[str, int] = {}
        for run_id, step, _ in self.steps("queued", "running"):
            text = self.client.hget(keys.run_key(run_id, "defs"), step)
            for take in parse_demand(json.loads(text or "{}").get("demand", ""), self.capacity).takes:
                needed[take.name] = needed.get(take.name, 0) + take.amount
        assert all(amount <= self.capacity[name] for name, amount in needed.items()), f"more than there is: {needed}"
        status = self.runtime.pools.status()
        held: dict[str, float] = {}
        for holder in status.holders:
            for name, amount in holder.takes.items():
                held[name] = held.get(name, 0.0) + amount
        assert held == {pool.name: pool.used for pool in status.pools if pool.used}, "the sums are not those of leases"

    def finish(self) -> None:
        """Nothing crashes any more: every run ends, and no lease is left."""
        self.crash = 0.0
        for run_id in self.runs:
            self._then(run_id, self.runtime.ledger.resume(run_id))
        for _ in range(400):
            if not self.steps("pending", "ready", "queued", "running", "retrying"):
                break
            self.sweep()
            self.ask_again()
            self.retry()
            self.claim()
            self.end("success")
            self.check()
        left = self.steps("pending", "ready", "queued", "running", "retrying")
        assert not left, f"they wait for ever: {left}"
        for _ in range(50):
            self.sweep()
            status = self.runtime.pools.status()
            if not status.holders and not status.waiting:
                break
        names = {lease_id(one.run_id, one.step) for one in status.holders}
        names |= {lease_id(one.run_id, one.step) for one in status.waiting}
        assert not names, f"leases are left: {names}"
        assert self.client.exists("orc:{pools}:used", "orc:{pools}:classes", "orc:{pools}:kinds") == 0


def tell(app: Celery, seed: int, acts: int = 60, crash: float = CRASH) -> None:
    """One whole story; AssertionError when something went wrong."""
    story = Story(app, seed, crash)
    for _ in range(acts):
        story.act()
    story.finish()
