"""A ledger on a real server, with a clock that the test moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import redis

from orchestrator import keys
from orchestrator.connection import connect
from orchestrator.context.fields import FieldWrite, split
from orchestrator.context.store import ContextStore
from orchestrator.context.values import canonical
from orchestrator.engine.runtime import transitions
from orchestrator.messages.models import Event, parse_events
from orchestrator.run.models import StepState
from orchestrator.run.nodes import compile_nodes
from orchestrator.run.reader import RunReader
from orchestrator.run.replies import Claimed, Clash, Moved, Refused, Unlocked
from orchestrator.run.shape import Shape
from orchestrator.run.store import Ledger, Payload
from orchestrator.workflow.models import GroupSpec, StepSpec, TriggerRule, WorkflowSpec
from orchestrator.workflow.plan import make_plan

OWNER = "worker-1"
LIMIT = 8_000_000
TRANSITIONS = transitions()


class Bench:
    """One run, called `run`, and everything that moves it."""

    def __init__(self, url: str, *, keep: int = 1000, keep_bytes: int = 64_000_000) -> None:
        self.client: redis.Redis = connect(url)
        self.now = 1_000_000.0
        self.reader = RunReader(self.client)
        self.context = ContextStore(self.client, keep=keep, keep_bytes=keep_bytes)
        self._kept: dict[str, Any] = {"keep": keep, "keep_bytes": keep_bytes}

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.client, TRANSITIONS, now=self.now, **self._kept)

    def create(
        self, spec: WorkflowSpec, run_id: str = "run", retention: float = 60, *, sequential: bool = False
    ) -> Moved:
        plan = make_plan(spec)
        nodes = compile_nodes(plan, lambda agent: agent, Shape(sequential=sequential))
        moved = self.ledger.create(run_id, nodes, workflow=spec.name, spec="{}", inputs={}, retention=retention)
        assert isinstance(moved, Moved)
        return moved

    def claim(self, step: str, owner: str = OWNER) -> Claimed | Refused:
        return self.ledger.claim("run", step, worker=owner, owner=owner, lease=5, pid=7)

    def granted(self, step: str) -> Claimed:
        answer = self.claim(step)
        assert isinstance(answer, Claimed), answer
        return answer

    def end(
        self, step: str, granted: Claimed, output: Mapping[str, Any] | None = None, *shared: FieldWrite
    ) -> Moved | Clash | Unlocked | Refused:
        """A success of an attempt that returns `output` and writes `shared`."""
        fields = [*own(step, {} if output is None else output), *(field.payload() for field in shared)]
        return self.ledger.finish("run", step, "success", token=granted.token, snapshot=granted.version, fields=fields)

    def run_step(self, step: str, state: str = "success", output: Mapping[str, Any] | None = None) -> Moved:
        granted = self.granted(step)
        fields = own(step, {"done": True} if output is None else output)
        moved = self.ledger.finish("run", step, state, token=granted.token, snapshot=granted.version, fields=fields)
        assert isinstance(moved, Moved), moved
        return moved

    def judge(
        self, node: str, members: Sequence[str], branches: Sequence[str], filled: Mapping[str, Any] | None = None
    ) -> Moved | Refused:
        """A barrier releases its group, with documents that stand for members without output."""
        fields = [field for step, document in (filled or {}).items() for field in own(step, document, "filled:medium")]
        return self.ledger.judge(
            "run", node, "success", decision="", members=members, branches=branches, filled=list(filled or ()),
            fields=fields, early=True,
        )  # fmt: skip

    def state(self, step: str) -> StepState:
        return self.reader.status("run").steps[step].state

    def events(self) -> list[Event]:
        """Everything that has been told of the run, the oldest first."""
        entries: Any = self.client.xrange(keys.run_key("run", "events"))
        return list(parse_events(entries))

    def node(self, node: str, field: str) -> str:
        raw = self.client.hget(keys.run_key("run", f"s:{node}"), field)
        return "" if raw is None else raw.decode()  # type: ignore[union-attr]


def own(step: str, document: Mapping[str, Any], mark: str = "") -> list[Payload]:
    """What a step commits to its own namespace."""
    return [field.payload() for field in split(step, document, limit=LIMIT, mark=mark)]


def shared(field: str, value: Any, read_at: int) -> FieldWrite:
    """A value for a shared section, by a writer who has seen the field as version `read_at` left it."""
    return FieldWrite(field, canonical(value, limit=LIMIT, what=field), read_at)


def spec(*steps: StepSpec, groups: tuple[GroupSpec, ...] = ()) -> WorkflowSpec:
    return WorkflowSpec(name="test", steps=steps, groups=groups)


def step(
    name: str, *needs: str, rule: TriggerRule = TriggerRule.ALL_SUCCESS, group: str | None = None, **keys: Any
) -> StepSpec:
    return StepSpec(id=name, agent="noop", needs=needs, trigger_rule=rule, group=group, **keys)


def released(moved: Moved | Clash | Refused) -> set[str]:
    assert isinstance(moved, Moved), moved
    return {definition["id"] for definition in moved.released}
