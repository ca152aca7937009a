"""What the API can be asked for. Each operation is a function of a call that is checked already; it may block."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from msgspec import Struct

from orchestrator import keys
from orchestrator.client import Client, RunHandle
from orchestrator.connection import guarded
from orchestrator.context.merge_models import ABSENT
from orchestrator.context.models import Difference
from orchestrator.engine import submission
from orchestrator.errors import IdempotencyConflict, NotFound
from orchestrator.flower import messages
from orchestrator.flower.problems import Rejected
from orchestrator.problems import did_you_mean
from orchestrator.run import dead_letters
from orchestrator.run.models import RunState
from orchestrator.views.listing import Wanted, page
from orchestrator.views.masking import WHOLE, Mask
from orchestrator.views.models import ConflictView, RunView
from orchestrator.views.reader import RunViews, conflict_view
from orchestrator.workflow.loader import load_workflow_text

Q = TypeVar("Q")
B = TypeVar("B")


class Call(Struct, Generic[Q, B], frozen=True):
    """One request. `path` are the ids in its address, `api` is where the API itself is, with Flower's prefix."""

    client: Client
    views: RunViews
    path: Mapping[str, str]
    query: Q
    body: B
    api: str = ""
    idempotency_key: str | None = None

    @property
    def run(self) -> RunHandle:
        """The run that the address names. Raises NotFound."""
        return self.client.get(self.path["run"])

    @property
    def mask(self) -> Mask:
        """The rule by which values are shown."""
        return Mask(self.client.settings.engine.masked_names)

    def answer(self, state: RunState) -> messages.RunAnswer:
        """The state that an operation left the run in."""
        return messages.RunAnswer(run_id=self.path["run"], state=state)


Plain = Call[messages.Nothing, messages.Nothing]


def list_runs(call: Call[messages.ListQuery, messages.Nothing]) -> messages.RunList:
    """The runs, newest first."""
    asked = call.query
    wanted = Wanted(
        asked.state, asked.workflow, asked.search.strip(), asked.created_after, asked.created_before
    )  # fmt: skip
    runs, cursor = page(call.client.redis, wanted, limit=asked.limit, cursor=asked.cursor)
    return messages.RunList(runs=tuple(runs), next_cursor=cursor)


def submit(call: Call[messages.Nothing, messages.Submission]) -> messages.Accepted:
    """Start a run. The same `Idempotency-Key` gives the same run, and 409 when it comes with other content."""
    asked = call.body
    workflow = asked.workflow if isinstance(asked.workflow, str) else dict(asked.workflow)
    try:
        handle = call.client.submit(
            workflow, asked.inputs, idempotency_key=call.idempotency_key, sequential=asked.sequential
        )
    except IdempotencyConflict as error:
        found = _differences(call.client, error.run_id, workflow, asked.inputs)
        raise Rejected(409, str(error), run_id=error.run_id, differences=found) from error
    return messages.Accepted(run_id=handle.id, url=f"{call.api}/{handle.id}")


def show_run(call: Call[messages.RunQuery, messages.Nothing]) -> RunView:
    """Everything about one run, in one document."""
    return call.views.view(call.path["run"], values=call.query.values)


def cancel(call: Call[messages.Nothing, messages.CancelRequest]) -> messages.RunAnswer:
    """Cancel a run: what waits is cancelled now, what runs gets a moment to end."""
    return call.answer(call.run.cancel(call.body.reason))


def pause(call: Plain) -> messages.RunAnswer:
    """Pause a run: nothing of it starts any more, what runs goes on to its end."""
    return call.answer(call.run.pause())


def resume(call: Plain) -> messages.RunAnswer:
    """Let a paused run go on."""
    return call.answer(call.run.resume())


def retry(call: Call[messages.Nothing, messages.RetryRequest]) -> messages.RunAnswer:
    """Begin a run anew from one step, from all that ended badly, or from the start, with whatever comes behind."""
    return call.answer(call.run.retry(call.body.step, failed=call.body.failed))


def resolve(call: Call[messages.Nothing, messages.ResolveRequest]) -> ConflictView:
    """Decide an open conflict for one of its choices or for a value. With the last one the run goes on."""
    decided = call.run.resolve(call.path["conflict"], call.body.choice, value=call.body.decided)
    return conflict_view(decided, call.mask)


def step_log(call: Call[messages.LogQuery, messages.Nothing]) -> messages.StepLog:
    """What the attempts of a step have logged."""
    run, asked = call.run, call.query
    step = _step(run, call.path["step"])
    tail = call.client.reader.log_tail(run.id, step, asked.after)
    lines = tuple(line for line in tail.lines if asked.attempt in (None, line.attempt))
    return messages.StepLog(run_id=run.id, step=step, lines=lines, cursor=tail.cursor)


def step_output(call: Plain) -> messages.Values:
    """What a step has written, whole, by field: the document of a run shows only the beginning of large values."""
    step = _step(call.run, call.path["step"])
    output = call.client.contexts.outputs(call.path["run"]).get(step, {})
    shown = {name: call.mask.shown(f"{step}.{name}", value, limit=WHOLE) for name, value in output.items()}
    return messages.Values(values=shown)


def step_artifact(call: Call[messages.FileQuery, messages.Nothing]) -> messages.File:
    """A file that a step has kept. What it contains is sent as it is; a file with a masked name is not sent."""
    run, name = call.run, call.query.name
    step = _step(run, call.path["step"])
    if call.mask.hides_file(name):
        raise Rejected(403, "artifacts of this name are masked: see masked_names of the engine's settings")
    return messages.File(name=name, content=call.client.reader.file(run.id, step, name))


def run_inputs(call: Plain) -> messages.Values:
    """What a run was given, whole."""
    with guarded():
        raw: Any = call.client.redis.hgetall(keys.run_key(call.run.id, "inputs"))
    shown = {name.decode(): call.mask.shown(name.decode(), json.loads(text), limit=WHOLE) for name, text in raw.items()}
    return messages.Values(values=shown)


def versions(call: Plain) -> messages.VersionList:
    """The versions of a run's context."""
    return messages.VersionList(versions=tuple(call.run.history()))


def version(call: Plain) -> messages.Values:
    """The context as one version has it, by section. `latest` is the newest one."""
    asked = call.path["version"]
    found = call.run.context(None if asked == "latest" else _number(asked))
    return messages.Values(values={name: call.mask.shown(name, value, limit=WHOLE) for name, value in found.items()})


def diff(call: Call[messages.DiffQuery, messages.Nothing]) -> messages.DifferenceList:
    """What changed in the context from one version to another."""
    a, b = call.query.a, call.query.b
    found = tuple(_shown(one, call.mask) for one in call.run.diff(_number(a), _number(b)))
    return messages.DifferenceList(a=a, b=b, differences=found)


def list_definitions(call: Plain) -> messages.DefinitionList:
    """The workflows that can be started by name."""
    with guarded():
        raw: Any = call.client.redis.hgetall(keys.WORKFLOWS)
    found = []
    for name in sorted(raw):
        spec = load_workflow_text(raw[name].decode(), source=name.decode(), engine=call.client.settings)
        found.append(messages.Definition(name=name.decode(), required_inputs=spec.required_inputs))
    return messages.DefinitionList(definitions=tuple(found))


def list_dead_letters(call: Plain) -> messages.DeadLetters:
    """Steps that were given up because they killed their processes, and messages that no worker could run."""
    store = call.client.redis
    return messages.DeadLetters(
        steps=tuple(dead_letters.steps(store)), messages=tuple(dead_letters.messages(store))
    )  # fmt: skip


def drop_dead_step(call: Plain) -> messages.Nothing:
    """Take a step off the dead-letter list. It stays failed; a retry of it takes it off as well."""
    dead_letters.drop(call.client.redis, call.path["run"], call.path["step"])
    return messages.Nothing()


def drop_dead_message(call: Plain) -> messages.Nothing:
    """Forget a message that no worker could run."""
    dead_letters.drop_message(call.client.redis, call.path["message"])
    return messages.Nothing()


def _step(run: RunHandle, step: str) -> str:
    steps = run.status().steps
    if step not in steps:
        hint = did_you_mean(step, steps)
        raise NotFound(f"run {run.id} has no step '{step}'" + (f"; {hint}" if hint else ""))
    return step


def _number(text: str) -> int | str:
    """A version by number or by name. Raises NotFound for a number that no version can have."""
    if not (text.isascii() and text.isdecimal()):
        return text
    if len(text) > 15:
        raise NotFound(f"there is no version {text[:40]}")
    return int(text)


def _shown(one: Difference, mask: Mask) -> messages.ShownDifference:
    return messages.ShownDifference(
        field=one.field,
        kind=one.kind,
        before=None if one.kind == "added" else mask.shown(one.field, one.before),
        after=None if one.kind == "removed" else mask.shown(one.field, one.after),
    )


def _differences(client: Client, run_id: str, workflow: Any, inputs: Mapping[str, Any]) -> tuple[str, ...]:
    """Where a submission differs from the run that has its key, as paths."""
    with guarded():
        raw: Any = client.redis.get(keys.run_key(run_id, "spec"))
        given: Any = client.redis.hgetall(keys.run_key(run_id, "inputs"))
    spec = submission.as_spec(workflow, submission.registered_workflow(client.redis), client.settings)
    mine = {"workflow": spec.model_dump(mode="json", by_alias=True, exclude_defaults=True),
            "inputs": spec.default_inputs | dict(inputs)}  # fmt: skip
    theirs = {"workflow": json.loads(raw or b"{}"),
              "inputs": {name.decode(): json.loads(text) for name, text in given.items()}}  # fmt: skip
    return tuple(_paths(theirs, mine, ""))[:50] or ("sequential",)


def _paths(a: Any, b: Any, path: str) -> list[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        names = [*a, *(name for name in b if name not in a)]
        found = [_paths(a.get(name, ABSENT), b.get(name, ABSENT), f"{path}.{name}" if path else name) for name in names]
        return [one for part in found for one in part]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [one for at, (x, y) in enumerate(zip(a, b, strict=True)) for one in _paths(x, y, f"{path}[{at}]")]
    return [] if a == b else [path]


