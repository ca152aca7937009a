"""Steps that need something of the pools are admitted before their messages reach a queue, so that no worker waits.

Three steps, each of them safe to repeat: a transition of a run tells who asks and whose lease is over; the pools take
leases back and grant others, of any runs, by one script; the runs of those queue them. A script has one run's keys or
the pools' and never both: whoever is granted belongs to runs that no caller could have named beforehand. Whatever dies
in between, a sweep carries it on: who asked asks again, and every lease is held against the ledger from time to time.
Members of a group that start together get their leases together, so that no two groups hold half of what each needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from celery import Celery

from orchestrator import keys
from orchestrator.connection import guarded
from orchestrator.demand import RUN_PLACE
from orchestrator.engine.index import look_soon
from orchestrator.engine.publishing import publish
from orchestrator.engine.runtime import Runtime, log, runtime_of
from orchestrator.errors import OrchestratorError
from orchestrator.resources.models import Ask, Exchanged, Met, Numbered, lease_id, of_lease
from orchestrator.resources.policy import Fate, Standing, judge
from orchestrator.run.replies import Moved, Refused

Followed = tuple[str, Moved]
"""A run, and a transition of it that the caller has to follow."""


def settle(app: Celery, transitions: Iterable[Followed]) -> list[Followed]:
    """Ask for the leases that transitions want, and give those back that they have ended; queue whoever gets one.

    A round trip, and one for each run whose steps are granted. An error of the store is logged. Returns what became of
    steps that met others under a limit of theirs, and of those others.
    """
    asks: list[Ask] = []
    returned: list[Numbered] = []
    for run_id, moved in transitions:
        asks += [_ask(run_id, definition, number) for definition, number in moved.asking]
        returned += _returned(run_id, moved.freed)
    return exchange(app, asks, returned)


def exchange(app: Celery, asks: Sequence[Ask], returned: Sequence[Numbered]) -> list[Followed]:
    """The same for leases of any runs."""
    followed: list[Followed] = []
    if not asks and not returned:
        return followed
    runtime = runtime_of(app)
    try:
        while asks or returned:
            found = runtime.pools.exchange(asks, returned)
            for met in found.conflicts:
                followed += _met(runtime, met, next(ask for ask in asks if ask.id == met.id))
            asks, returned = (), _carry_out(app, runtime, found)
    except OrchestratorError as error:
        log.warning("pools: %s; a sweep will carry on", error)
    return followed


def _met(runtime: Runtime, met: Met, ask: Ask) -> Iterator[Followed]:
    """A step does not want to wait for others under its limit: it is skipped, or their runs are cancelled."""
    run_id, step = of_lease(met.id)
    others = sorted({of_lease(name)[0] for name in met.holders} - {run_id})
    if ask.conflict == "skip":
        error = f"its limit was reached by {', '.join(met.holders)}"
        answer = runtime.ledger.expire(run_id, step, error=error, state="skipped", reason="concurrency_limit")
        answers = [(run_id, answer)]
    else:
        reason = f"run {run_id} took its place: {step} cancels who is before it under its limit"
        grace = runtime.settings.engine.cancel_grace
        answers = [(name, runtime.ledger.stop(name, "cancelled", reason=reason, grace=grace)) for name in others]
    for name, answer in answers:
        if isinstance(answer, Moved):
            look_soon(runtime, name, 0.0)
            yield name, answer


def sweep(app: Celery) -> None:
    """Grant what time has made possible, and hold leases that are due against the ledger. One round trip where there is
    nothing to do."""
    runtime = runtime_of(app)
    found = runtime.pools.look()
    returned = _carry_out(app, runtime, found)
    for (name, number), standing in zip(found.looks, _standings(runtime, found.looks), strict=True):
        fate = judge(number, standing)
        if fate is Fate.GIVE_BACK:
            log.info("pools: the lease of %s is over", name)
            returned.append((name, number))
        elif fate is Fate.GRANT:
            returned += _grant(app, runtime, of_lease(name)[0], [(of_lease(name)[1], number)])
    exchange(app, (), returned)


def _ask(run_id: str, definition: Mapping[str, Any], number: int) -> Ask:
    return Ask(
        id=lease_id(run_id, definition["id"]),
        n=number,
        kind=definition["demand"].replace(RUN_PLACE, run_id),
        priority=definition["priority"],
        key=definition.get("fairness_key", run_id),
        weight=definition.get("fairness_weight", 1.0),
        ms=round(definition["seconds"] * 1000),
        agent_class=definition["queue"],
        conflict=definition.get("on_conflict"),
        group=definition.get("together"),
    )


def _returned(run_id: str, freed: Iterable[tuple[str, int]]) -> list[Numbered]:
    return [(lease_id(run_id, step), number) for step, number in freed]


def _carry_out(app: Celery, runtime: Runtime, found: Exchanged) -> list[Numbered]:
    """Queue whoever was granted a lease; returns the leases of steps that do not want them any more."""
    by_run: dict[str, list[tuple[str, int]]] = {}
    for name, number in found.granted:
        run_id, step = of_lease(name)
        by_run.setdefault(run_id, []).append((step, number))
    returned: list[Numbered] = []
    for run_id, grants in by_run.items():
        returned += _grant(app, runtime, run_id, grants)
    return returned


def _grant(app: Celery, runtime: Runtime, run_id: str, grants: Sequence[tuple[str, int]]) -> list[Numbered]:
    moved = runtime.ledger.grant(run_id, grants)
    if isinstance(moved, Refused):
        return _returned(run_id, grants)
    publish(app, run_id, moved.released)
    return _returned(run_id, moved.freed)


def _standings(runtime: Runtime, leases: Sequence[Numbered]) -> list[Standing]:
    if not leases:
        return []
    with guarded():
        pipe = runtime.client.pipeline(transaction=False)
        for name, _ in leases:
            run_id, step = of_lease(name)
            pipe.hget(keys.run_key(run_id, "meta"), "state")
            pipe.hmget(keys.run_key(run_id, f"s:{step}"), "state", "asking", "leased")
        raw = pipe.execute()
    return [
        Standing(_text(state), _text(step[0]), _number(step[1]), _number(step[2]))
        for state, step in zip(raw[::2], raw[1::2], strict=True)
    ]


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode()


def _number(raw: bytes | None) -> int | None:
    return None if raw is None else int(raw)
