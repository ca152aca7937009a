"""Starting a run: validated and planned before anything is written, created once, then published."""

from __future__ import annotations

import json
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, TypeVar, cast

import redis
from celery import Celery
from msgspec import Struct
from msgspec.structs import replace

from orchestrator import keys
from orchestrator.connection import guarded
from orchestrator.context.values import encode
from orchestrator.engine import backpressure
from orchestrator.engine.backpressure import Entrance
from orchestrator.engine.join import follow_all
from orchestrator.engine.places import filled
from orchestrator.engine.registry import known_agents
from orchestrator.engine.runtime import runtime_of
from orchestrator.errors import (
    BackpressureError,
    IdempotencyConflict,
    InvalidWorkflow,
    NotFound,
    Problem,
    StoreUnavailable,
)
from orchestrator.fleet import learning
from orchestrator.fleet.learning import Durations, of_steps
from orchestrator.problems import did_you_mean
from orchestrator.run.nodes import Node, compile_nodes, texts_of
from orchestrator.run.replies import Moved
from orchestrator.run.shape import Shape
from orchestrator.run.store import Ledger
from orchestrator.settings import EngineSettings
from orchestrator.units import bucket_floor, size_bucket
from orchestrator.workflow import builder
from orchestrator.workflow.loader import load_workflow, load_workflow_text
from orchestrator.workflow.models import WorkflowSpec
from orchestrator.workflow.plan import NOTHING_LEARNED, Plan, make_plan

RUN_ID_BYTES = 8
KEPT = 16
"""Of so many objects what was made of them is kept, for services that submit the same ones again and again."""
NO_DURATIONS: Durations = {}

K = TypeVar("K")
S = TypeVar("S")
T = TypeVar("T")


class Prepared(Struct, frozen=True):
    """A submission that is ready to be written: nothing of it has touched Redis."""

    plan: Plan
    nodes: tuple[Node, ...]
    texts: tuple[str, ...]
    spec: str
    inputs: Mapping[str, str]
    fingerprint: str


class Compiler:
    """Plans definitions and keeps the last plans, so that a service that submits one workflow often plans it once."""

    def __init__(self, keep: int = 64) -> None:
        self._keep = keep
        self._known: OrderedDict[tuple[str, str, Shape], tuple[Plan, tuple[Node, ...]]] = OrderedDict()
        self._texts: dict[int, tuple[tuple[Node, ...], tuple[str, ...]]] = {}
        self._specs: dict[int, tuple[WorkflowSpec, str]] = {}
        self._shapes: dict[tuple[int, bool | None, int], tuple[EngineSettings, Shape]] = {}

    def text(self, spec: WorkflowSpec) -> str:
        """The definition as JSON; of the same object the same text."""
        return _once(self._specs, id(spec), spec, lambda: spec.model_dump_json(by_alias=True, exclude_defaults=True))

    def shape(self, settings: EngineSettings, sequential: bool | None, input_bytes: int) -> Shape:
        """The form of runs with inputs of about that size."""
        key = (id(settings), sequential, input_bytes)
        return _once(
            self._shapes, key, settings,
            lambda: replace(Shape.of(settings, sequential=sequential), input_bytes=input_bytes),
        )  # fmt: skip

    def texts(self, nodes: tuple[Node, ...]) -> tuple[str, ...]:
        """What is written of nodes."""
        return _once(self._texts, id(nodes), nodes, lambda: texts_of(nodes))

    def __call__(
        self,
        spec: WorkflowSpec,
        text: str,
        queues: Mapping[str, str],
        shape: Shape,
        learned: Mapping[str, float] = NOTHING_LEARNED,
    ) -> tuple[Plan, tuple[Node, ...]]:
        """The plan and nodes of a definition whose JSON is `text`; `queues` maps its agents to their classes, `learned`
        its steps to what they will take."""
        key = (text, json.dumps([queues, learned], sort_keys=True), shape)
        found = self._known.pop(key, None)
        if found is None:
            plan = make_plan(spec, learned=learned, find_groups=shape.find_groups)
            found = plan, compile_nodes(plan, lambda name: queues[name], shape)
        self._known[key] = found
        while len(self._known) > self._keep:
            self._known.popitem(last=False)
        return found


def _once(known: dict[K, tuple[S, T]], key: K, of: S, make: Callable[[], T]) -> T:
    """What was made of that very object before, of which the last few are kept."""
    found = known.get(key)
    if found is None:
        if len(known) >= KEPT:
            known.clear()
        found = known[key] = of, make()
    return found[1]


def prepare(
    spec: WorkflowSpec,
    inputs: Mapping[str, Any],
    agents: Mapping[str, Mapping[str, Any]],
    settings: EngineSettings,
    compile_spec: Compiler,
    *,
    sequential: bool | None = None,
    durations: Durations = NO_DURATIONS,
) -> Prepared:
    """Plan and check a submission, as `prepare_many` does several."""
    given = prepare_many(spec, [inputs], agents, settings, compile_spec, sequential=sequential, durations=durations)
    return given[0]


def prepare_many(
    spec: WorkflowSpec,
    inputs: Iterable[Mapping[str, Any]],
    agents: Mapping[str, Mapping[str, Any]],
    settings: EngineSettings,
    compile_spec: Compiler,
    *,
    sequential: bool | None = None,
    durations: Durations = NO_DURATIONS,
) -> list[Prepared]:
    """Plan and check a submission for each of `inputs`. Raises InvalidWorkflow with every problem; nothing is written.
    `sequential`: whether steps run one after another (None: as the settings say).

    `agents` are the declarations of the deployment, `durations` what its agents took lately. Raises StoreUnavailable
    when there are none, because no worker has ever started there: nobody would know which queues the agents are served
    from.
    """
    if not agents:
        raise StoreUnavailable("no worker has announced its agents here yet; start one, then submit")
    every = list(inputs)
    problems = [*_unknown_agents(spec, agents)]
    for number, one in enumerate(every, 1):
        source = f"run {number} of {len(every)}" if len(every) > 1 else ""
        problems += (replace(problem, source=source) for problem in _wrong_inputs(spec, one))
    if problems:
        raise InvalidWorkflow(problems)
    text = compile_spec.text(spec)
    queues = {name: str(agents[name]["queue"]) for step in spec.steps for name in step.agents}
    limit = settings.engine.max_value_bytes
    defaults = {name: declared.default for name, declared in spec.inputs.items() if not declared.required}
    found = []
    for one in every:
        texts = {
            name: encode(value, limit=limit, what=f"input '{name}'") for name, value in {**defaults, **one}.items()
        }
        size = bucket_floor(size_bucket(sum(map(len, texts.values()))))
        shape = compile_spec.shape(settings, sequential, size)
        plan, nodes = compile_spec(spec, text, queues, shape, of_steps(durations, spec, size))
        own = filled(nodes, texts)
        written = compile_spec.texts(own) if own is nodes else texts_of(own)
        found.append(Prepared(plan, own, written, text, texts, _fingerprint(text, texts, sequential)))
    return found


def _fingerprint(text: str, texts: Mapping[str, str], sequential: bool | None) -> str:
    digest = blake2b(digest_size=16)
    digest.update(text.encode())
    digest.update(json.dumps(texts, sort_keys=True).encode())
    if sequential is not None:
        digest.update(b"sequential" if sequential else b"parallel")
    return digest.hexdigest()


def _unknown_agents(spec: WorkflowSpec, agents: Mapping[str, Any]) -> list[Problem]:
    return [
        Problem(
            path=f"steps.{step.id}.agent",
            message=f"no agent is called '{name}'",
            hint=did_you_mean(name, agents),
        )
        for step in spec.steps
        for name in step.agents
        if name not in agents
    ]


def _wrong_inputs(spec: WorkflowSpec, inputs: Mapping[str, Any]) -> Iterator[Problem]:
    """A workflow that declares inputs takes those only; one that declares none takes any."""
    for name, declared in spec.inputs.items():
        if declared.required and name not in inputs:
            yield Problem(f"inputs.{name}", "this input is required", f"give it: --input {name}=VALUE or {name}=@FILE")
    for name in inputs:
        if spec.inputs and name not in spec.inputs:
            yield Problem(f"inputs.{name}", "the workflow takes no such input", did_you_mean(name, spec.inputs))


def as_spec(workflow: Any, registered: Callable[[str], str | None], settings: EngineSettings) -> WorkflowSpec:
    """The definition behind what a caller may hand in: a builder, a spec, a mapping, a path, or a registered name.
    It is checked against the deployment's settings, but for a spec, which somebody has checked."""
    if isinstance(workflow, WorkflowSpec):
        return workflow
    if isinstance(workflow, builder.Workflow):
        return workflow.spec(engine=settings)
    if isinstance(workflow, builder.Node | builder.Nodes):
        raise TypeError(f"{workflow!r} is a part of a workflow; submit the Workflow itself")
    if isinstance(workflow, str) and "/" not in workflow and "." not in workflow:
        text = registered(workflow)
        if text is None:
            raise NotFound(f"no workflow is registered as '{workflow}'")
        return load_workflow_text(text, source=workflow, engine=settings)
    return load_workflow(workflow, engine=settings)


def new_run_id() -> str:
    """Sixteen hexadecimal digits; short enough to type, and no two alike."""
    return uuid.uuid4().hex[: 2 * RUN_ID_BYTES]


class Reserved(Struct, frozen=True):
    """The `ids` of runs to create, in their order; `fresh` are those that nobody has had before, `names` the
    idempotency keys that were not used before."""

    ids: tuple[str, ...]
    fresh: frozenset[str]
    names: tuple[str, ...]


def reserve_many(
    client: redis.Redis, prepared: Sequence[Prepared], idempotency_keys: Sequence[str | None], retention: float
) -> Reserved:
    """Ids for runs, those without an idempotency key without asking anybody. Raises IdempotencyConflict when a key was
    used with another workflow or other inputs."""
    ids = [new_run_id() for _ in prepared]
    fresh, names = set(ids), []
    keyed = [(at, key) for at, key in enumerate(idempotency_keys) if key is not None]
    if keyed:
        pipe = client.pipeline(transaction=False)
        for at, key in keyed:
            mine = json.dumps({"run": ids[at], "fingerprint": prepared[at].fingerprint})
            pipe.set(keys.idempotency_key(key), mine, nx=True, get=True, ex=int(retention) or None)
        with guarded():
            before = pipe.execute()
        for (at, key), found in zip(keyed, before, strict=True):
            if found is None:
                names.append(keys.idempotency_key(key))
            else:
                fresh.discard(ids[at])
                ids[at] = _same_run(key, json.loads(found), prepared[at])
    return Reserved(tuple(ids), frozenset(fresh), tuple(names))


def _same_run(key: str, stored: Mapping[str, str], prepared: Prepared) -> str:
    if stored["fingerprint"] != prepared.fingerprint:
        raise IdempotencyConflict(
            f"idempotency key '{key}' belongs to run {stored['run']}, "
            "which was submitted with another workflow or other inputs",
            str(stored["run"]),
        )
    return str(stored["run"])


def start(app: Celery, ledger: Ledger, prepared: Prepared, idempotency_key: str | None) -> tuple[str, bool]:
    """Create a run and publish its first steps; its id, and whether it did not exist before. Raises as `start_many`."""
    ids, created = start_many(app, ledger, [prepared], [idempotency_key])
    return ids[0], created == 1


def start_many(
    app: Celery, ledger: Ledger, prepared: Sequence[Prepared], idempotency_keys: Sequence[str | None]
) -> tuple[tuple[str, ...], int]:
    """Create runs in one round trip (two with idempotency keys), and publish the first steps of all; their ids, and how
    many did not exist before.

    Raises IdempotencyConflict when a key was used with another workflow or other inputs, and BackpressureError, for all
    of them, while too much waits for their agents; keys that were not used before are free again then.
    """
    settings = runtime_of(app).settings
    reserved = reserve_many(ledger.client, prepared, idempotency_keys, settings.engine.retention)
    runs = list(zip(reserved.ids, prepared, strict=True))
    entrance = backpressure.entrance(app, [(run_id, one.nodes) for run_id, one in runs if run_id in reserved.fresh])
    creations = [
        (run_id, *_creation(ledger, one, settings, entrance if run_id in reserved.fresh else None, run_id))
        for run_id, one in runs
    ]
    said, answers = ledger.create_many(creations, ahead=[] if entrance is None else [entrance.call])
    if entrance is not None:
        try:
            entrance.passed(said[0], answers)
        except BackpressureError:
            if reserved.names:
                with guarded():
                    ledger.client.delete(*reserved.names)
            raise
    moved = [(run_id, answer) for (run_id, _), answer in zip(runs, answers, strict=True) if isinstance(answer, Moved)]
    follow_all(app, moved)
    if entrance is not None and not ledger.posts:
        entrance.entered(ledger.client)
    return reserved.ids, len(moved)


def _creation(
    ledger: Ledger, prepared: Prepared, settings: EngineSettings, entrance: Entrance | None, run_id: str
) -> tuple[dict[str, Any], list[str]]:
    return ledger.creation(
        prepared.nodes,
        texts=prepared.texts,
        workflow=prepared.plan.workflow.name,
        spec=prepared.spec,
        inputs=prepared.inputs,
        critical_path_seconds=prepared.plan.critical_path_seconds,
        retention=settings.engine.retention,
        timeout=prepared.plan.workflow.timeout,
        entering=None if entrance is None else entrance.promise,
        entered=entrance is not None and entrance.promise == run_id,
    )


def registered_workflow(client: redis.Redis) -> Callable[[str], str | None]:
    """Looks a workflow up among those that the workers registered."""

    def look_up(name: str) -> str | None:
        with guarded():
            text = cast("bytes | None", client.hget(keys.WORKFLOWS, name))
        return None if text is None else text.decode()

    return look_up


def submit_registered(app: Celery, workflow: str, inputs: Mapping[str, Any], idempotency_key: str | None) -> str:
    """Start a registered workflow on a worker; returns the run id."""
    runtime = runtime_of(app)
    text = registered_workflow(runtime.client)(workflow)
    if text is None:
        raise NotFound(f"no workflow is registered as '{workflow}'")
    spec = load_workflow_text(text, source=workflow, engine=runtime.settings)
    agents, durations = known_agents(runtime.client), learning.durations(runtime.client)
    prepared = prepare(spec, inputs, agents, runtime.settings, Compiler(), durations=durations)
    return start(app, runtime.ledger, prepared, idempotency_key)[0]
