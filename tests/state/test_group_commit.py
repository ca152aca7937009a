"""Attempts that end in one process at the same time are committed in one round trip, each with an answer of its own."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from orchestrator.batch import BatchError, GroupCommit, scripted
from orchestrator.connection import connect
from orchestrator.run.models import StepState
from orchestrator.run.replies import Clash, Moved, Refused, Unlocked
from orchestrator.run.store import Ledger
from tests.conftest import Store
from tests.state.bench import TRANSITIONS, Bench, own, shared, spec, step
from tests.workers import eventually

MANY = 60


def ends(bench: Bench, ledger: Ledger) -> dict[str, Callable[[], Any]]:
    """Ends of attempts, by what is to come of them."""
    bench.create(spec(*(step(name) for name in ("before", "first", "good", "shares", "late", "clashes", "unlocked"))))
    bench.run_step("before", output={})
    granted = {name: bench.granted(name) for name in ("first", "good", "shares", "late", "clashes", "unlocked")}
    assert isinstance(bench.end("first", granted["first"], {}, shared("plan.x", "first", 0)), Moved)

    def end(name: str, **given: Any) -> Callable[[], Any]:
        one = granted[name]
        said: dict[str, Any] = {"token": one.token, "snapshot": one.version, "fields": own(name, {"by": name})}
        said |= given
        return lambda: ledger.finish("run", name, "success", **said)

    return {
        "good": end("good"),
        "shares": end("shares", fields=[shared("plan.y", "mine", 0).payload()]),
        "late": end("late", token=granted["late"].token - 1),
        "clashes": end("clashes", fields=[shared("plan.x", "another", 0).payload()]),
        "unlocked": end("unlocked", locks={"plan": 9}),
    }


@pytest.mark.parametrize("answer_is_lost", [False, True])
def test_each_of_a_batch_has_its_own_outcome_and_takes_effect_once(store: Store, *, answer_is_lost: bool) -> None:
    bench, batches, go = Bench(store.url), list[int](), threading.Event()
    ledger = bench.ledger
    calls = ends(bench, ledger)
    send = scripted(bench.client)

    def held(items: Sequence[Any]) -> Sequence[Any]:
        batches.append(len(items))
        if len(batches) == 1:
            go.wait(30)
        if answer_is_lost:
            send(items)
        return send(items)

    together = ledger._commit = GroupCommit(held, at_once=1)
    bench.client.script_flush()  # as after a restart of the server
    with ThreadPoolExecutor(len(calls) + 1) as threads:
        try:
            first = threads.submit(ledger.claim, "run", "nobody", worker="w", owner="w", lease=5)
            eventually(lambda: bool(batches), within=30, what="one is on its way")
            found = {name: threads.submit(call) for name, call in calls.items()}
            eventually(lambda: len(together._waiting) == len(calls), within=30, what="all wait for the first one")
        finally:
            go.set()
        outcomes = {name: one.result(30) for name, one in found.items()}
        assert isinstance(first.result(30), Refused)
    assert batches == [1, len(calls)]
    kinds = {"good": Moved, "shares": Moved, "late": Refused, "clashes": Clash, "unlocked": Unlocked}
    assert {name: type(outcome) for name, outcome in outcomes.items()} == kinds
    assert outcomes["unlocked"] == Unlocked("plan")
    assert [bench.state(name) for name in ("good", "late", "clashes")] == ["success", "running", "running"]
    versions = [version.author for version in bench.context.history("run")]
    assert sorted(versions) == sorted(["before", "first", "good", "shares"]), "each committed once"


def test_an_error_is_raised_where_it_belongs_and_who_is_alone_waits_for_nobody() -> None:
    here = threading.get_ident()
    answers: list[Any] = [ValueError("mine"), 7]
    once: GroupCommit[int, int] = GroupCommit(lambda items: [answers[item] for item in items] if here else [])
    with pytest.raises(ValueError, match="mine"):
        once(0)
    assert once(1) == 7
    wrong: GroupCommit[int, int] = GroupCommit(lambda _: [])
    with pytest.raises(BatchError, match="given 1 items and answered with 0"):
        wrong(1)
    assert wrong._on_their_way == once._on_their_way == 0


def finish_all(url: str, now: float, last: int) -> list[Any]:
    """End all of them from many threads; this process dies when `last` have ended."""
    ledger, ended = Ledger(connect(url), TRANSITIONS, now=now), list[int]()

    def end(number: int) -> Any:
        name = f"s{number}"
        answer = ledger.finish("run", name, "success", token=1, fields=own(name, {"n": number}))
        ended.append(number)
        if len(ended) >= last:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    try:
        with ThreadPoolExecutor(20) as threads:
            return list(threads.map(end, range(MANY)))
    finally:
        if last <= MANY:  # whatever went wrong: this is a fork of the tests, and goes no further
            os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_killed_process_has_not_committed_another_one_does_once(store: Store) -> None:
    bench = Bench(store.url)
    bench.create(spec(*(step(f"s{number}") for number in range(MANY))))
    assert {bench.granted(f"s{number}").token for number in range(MANY)} == {1}
    child = os.fork()
    if not child:
        finish_all(store.url, bench.now, MANY // 2)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    answers = finish_all(store.url, bench.now, MANY + 1)
    before = [answer for answer in answers if isinstance(answer, Refused)]
    assert MANY // 2 <= len(before) < MANY, "killed in the middle"
    assert all(isinstance(answer, Refused | Moved) for answer in answers)
    assert {one.state for one in bench.reader.status("run").steps.values()} == {StepState.SUCCESS}
    assert sorted(version.author for version in bench.context.history("run", limit=1000)) == sorted(
        f"s{number}" for number in range(MANY)
    )
