"""Workflows written in Python. They end in the same checks as a file, and in the same WorkflowSpec.

flow = Workflow("docs")
analyst = flow.step("analyst")
design = flow.group("design", ["ux_expert", "architect"], timeout="10m")
analyst >> flow.step("pm") >> design >> flow.step("qa", retry={"maximum_attempts": 2})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypedDict, Unpack, cast

from orchestrator.errors import InvalidWorkflow, Problem

if TYPE_CHECKING:
    from orchestrator.settings import EngineSettings
    from orchestrator.workflow.models import WorkflowSpec

Duration: TypeAlias = str | float | timedelta


class Named(Protocol):
    """Anything with a name, such as a decorated agent."""

    @property
    def name(self) -> str: ...


class StepKeys(TypedDict, total=False):
    """The keys of a step, as in a file; `with_` stands for `with`."""

    with_: Mapping[str, Any]
    needs: Sequence[Reference] | Reference
    wants: Sequence[Reference] | Reference
    validates: Sequence[Reference] | Reference
    inputs: Sequence[str]
    outputs: Sequence[str]
    context: Mapping[str, Sequence[str]]
    context_access: str
    locks: Mapping[str, str]
    resources: Mapping[str, Any]
    concurrency_limit: Mapping[str, Any]
    rate_limit: str | Sequence[str] | Mapping[str, Any]
    timeout: Duration
    idle_timeout: Duration
    schedule_timeout: Duration
    retry: Mapping[str, Any]
    priority: int
    queue: str
    estimated_duration: Duration
    trigger_rule: str
    defaults: Mapping[str, Any]
    cache: bool | Duration
    group: str
    for_each: str | Sequence[Any] | Mapping[str, Any]
    map: str | Named
    concurrency: int
    chunk_size: int
    item_timeout: Duration
    pipeline: Sequence[Mapping[str, Any]]
    fork_join: Mapping[str, Any]
    barrier: Mapping[str, Any]
    description: str


class GroupKeys(TypedDict, total=False):
    """The keys of an execution group, as in a file; `timeout` is the barrier's."""

    name: str
    description: str
    needs: Sequence[Reference] | Reference
    dependencies: Sequence[str]
    parallel_capable: bool
    resource_isolation: bool
    estimated_duration: Duration
    resources: Mapping[str, Any]
    context_access: str
    locks: Mapping[str, str]
    agent_specifications: Mapping[str, Mapping[str, Any]]
    barrier: Mapping[str, Any]
    cross_validation: Mapping[str, Any]
    consistency: Sequence[Mapping[str, Any]]
    timeout: Duration


class Node:
    """A step or a group of a workflow that is being written. `a >> b` makes b wait for a."""

    __slots__ = ("_raw", "id", "workflow")

    def __init__(self, workflow: Workflow, node_id: str, raw: dict[str, Any]) -> None:
        self.workflow, self.id, self._raw = workflow, node_id, raw

    def __rshift__(self, after: Node | Sequence[Node]) -> Nodes:
        return Nodes([self]) >> after

    def __rrshift__(self, before: Sequence[Node]) -> Nodes:
        return Nodes(before) >> self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} of {self.workflow.name}>"

    def _wait_for(self, before: Node) -> None:
        if before.workflow is not self.workflow:
            message = f"'{before.id}' belongs to another workflow, {before.workflow.name}"
            raise InvalidWorkflow([Problem(self.id, message, "connect steps of one workflow")])
        needs = self._raw.setdefault("needs", [])
        if before.id not in needs:
            needs.append(before.id)


class Nodes(list[Node]):
    """Several steps or groups, so that `a >> [b, c] >> d` reads as it is meant."""

    def __rshift__(self, after: Node | Sequence[Node]) -> Nodes:
        following = Nodes([after] if isinstance(after, Node) else after)
        for node in following:
            for before in self:
                node._wait_for(before)
        return following

    def __rrshift__(self, before: Sequence[Node]) -> Nodes:
        return Nodes(before) >> self


Reference: TypeAlias = str | Node
Member: TypeAlias = str | Node | Named | Mapping[str, Any]


class Workflow:
    """A definition in the making. Nothing is checked before `spec()`, which then tells every mistake at once."""

    def __init__(
        self,
        name: str,
        *,
        version: str | None = None,
        description: str | None = None,
        inputs: Mapping[str, Any] | Sequence[str] | None = None,
        timeout: Duration | None = None,
        schedule: str | None = None,
        defaults: Mapping[str, Any] | None = None,
        barrier: Mapping[str, Any] | None = None,
        merge: Mapping[str, Any] | None = None,
        max_parallel: int | None = None,
        fairness_key: str | None = None,
        fairness_weight: float | None = None,
    ) -> None:
        self.name = name
        given = {
            "version": version,
            "description": description,
            "inputs": inputs,
            "timeout": timeout,
            "schedule": schedule,
            "defaults": defaults,
            "barrier": barrier,
            "merge": merge,
            "max_parallel": max_parallel,
            "fairness_key": fairness_key,
            "fairness_weight": fairness_weight,
        }
        self._raw: dict[str, Any] = {"name": name, **{key: value for key, value in given.items() if value is not None}}
        self._steps: list[dict[str, Any]] = []
        self._groups: dict[str, dict[str, Any]] = {}

    @classmethod
    def from_file(cls, path: str | Path, *, engine: EngineSettings | None = None) -> Workflow:
        """A workflow file, to be looked at or added to. Raises InvalidWorkflow with every mistake."""
        from orchestrator.workflow.loader import load_workflow  # only few processes that build workflows check them

        return cls.from_spec(load_workflow(path, engine=engine))

    @classmethod
    def from_spec(cls, spec: WorkflowSpec) -> Workflow:
        """A finished definition, to be added to."""
        from orchestrator.workflow.writer import to_document

        document = to_document(spec)
        workflow = cls(spec.name)
        workflow._steps = document.pop("steps")
        workflow._groups = document.pop("execution_groups", {})
        workflow._raw = document
        return workflow

    def step(self, id: str, agent: str | Named | None = None, **keys: Unpack[StepKeys]) -> Node:
        """Add a step; its agent is called like it unless named. The keys are those of a file."""
        raw: dict[str, Any] = {"id": id}
        if agent is not None:
            raw["agent"] = agent if isinstance(agent, str) else agent.name
        raw |= _plain_keys(keys)
        self._steps.append(raw)
        return Node(self, id, raw)

    def group(self, id: str, agents: Sequence[Member], **keys: Unpack[GroupKeys]) -> Node:
        """Add a group that runs side by side and is joined by a barrier.

        `agents` are names, mappings with id, agent and a step's keys, or steps that were added before.
        """
        if id in self._groups:
            raise InvalidWorkflow([Problem(f"execution_groups.{id}", f"the group id '{id}' is there twice")])
        raw = {"agents": [_member(agent) for agent in agents], **_plain_keys(keys)}
        self._groups[id] = raw
        return Node(self, id, raw)

    def to_dict(self) -> dict[str, Any]:
        """The definition as it was written, in the file's form, unchecked."""
        document: dict[str, Any] = {**self._raw, "steps": self._steps, "execution_groups": self._groups}
        return {
            key: _plain(value) for key, value in document.items() if value or key not in ("steps", "execution_groups")
        }

    def spec(self, *, engine: EngineSettings | None = None) -> WorkflowSpec:
        """The checked definition. Raises InvalidWorkflow with every mistake."""
        from orchestrator.workflow.loader import load_workflow

        return load_workflow(self.to_dict(), engine=engine)

    def to_yaml(self) -> str:
        """The checked definition as a file's text. Raises InvalidWorkflow with every mistake."""
        from orchestrator.workflow.writer import to_yaml

        return to_yaml(self.spec())

    def __repr__(self) -> str:
        return f"<Workflow {self.name}: {len(self._steps)} steps, {len(self._groups)} groups>"


PATTERN_STEP = "items"
"""The one step of a workflow that is a pattern."""


def pattern(name: str, **keys: Any) -> Workflow:
    """A workflow of one mapped step."""
    workflow = Workflow(name)
    workflow.step(PATTERN_STEP, **keys)
    return workflow


def _member(agent: Member) -> object:
    if isinstance(agent, Node):
        return agent.id
    if isinstance(agent, str | Mapping):
        return _plain(agent)
    return agent.name


def _plain_keys(keys: StepKeys | GroupKeys) -> dict[str, Any]:
    """The keys of a file. Lists that `>>` may still add to are copied."""
    plain = {key.removesuffix("_"): _plain(value) for key, value in cast(dict[str, Any], keys).items()}
    if isinstance(plain.get("needs"), str):
        plain["needs"] = [plain["needs"]]
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Node):
        return value.id
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
