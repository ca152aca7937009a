"""Chords that are not ours have the same results and the same errors with our result backend as with Celery's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery, chain, chord, group, states
from celery.backends.redis import RedisBackend

from orchestrator.engine.backend import LedgerBackend
from orchestrator.engine.routing import CONTROL
from tests.conftest import empty_database
from tests.engine import plain_app
from tests.engine.plain_app import ERRBACKS
from tests.servers import ValkeyServer
from tests.workers import eventually

SECONDS = 30
BACKENDS = ("celery", "ours")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Told = tuple[str, str]


class Plain:
    """Tasks of one application, as signatures."""

    def __init__(self, app: Celery) -> None:
        self.app = app

    def __getattr__(self, name: str) -> Any:
        return self.app.tasks[f"plain.{name}"]

    def chord(self, header: list[Any], body: Any) -> Any:
        return chord(header, body, app=self.app)


@pytest.fixture(scope="module", params=["processes", pytest.param("containers", marks=pytest.mark.docker)])
def both(
    request: pytest.FixtureRequest, valkey_server: ValkeyServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Plain]]:
    """The client of a worker with each backend."""
    from tests.engine.celery_nodes import in_containers, in_processes  # takes most of a second

    if request.param == "containers":
        running = in_containers(BACKENDS, plain_app)
    else:
        stores = {backend: empty_database(valkey_server) for backend in BACKENDS}
        running = in_processes(stores, tmp_path_factory.mktemp("plain"), plain_app)
    with running as setups:
        found = {backend: Plain(setup.app) for backend, setup in setups.items()}
        assert type(found["celery"].app.backend) is RedisBackend
        assert type(found["ours"].app.backend) is LedgerBackend
        yield found
        for plain in found.values():
            unsubscribe(plain.app.backend)
            plain.app.close()


def unsubscribe(backend: Any) -> None:
    """Celery keeps whoever waits for a member that never comes, up to the end of the process: without the server."""
    waiting = [one for known in backend._pending_results for same in known.values() for one in same.values()]
    for result in waiting:
        backend.remove_pending_result(result)


def told(result: Any) -> Told:
    """The state and the error, without the ids in it."""
    eventually(lambda: result.state in states.READY_STATES, within=SECONDS, what="it has ended")
    return result.state, _UUID.sub("ID", repr(result.result))


Canvas = Callable[[Plain], Any]

GOOD: dict[str, tuple[Canvas, str]] = {
    "chord": (lambda p: p.chord([p.add.s(n, n) for n in range(10)], p.total.s()), "90"),
    "order": (lambda p: p.chord([p.same.s(n) for n in range(10)], p.same.s()), repr([*range(10)])),
    "one member": (lambda p: p.chord([p.add.s(1, 1)], p.total.s()), "2"),
    "no member": (lambda p: p.chord([], p.total.s()), "0"),
    "partial arguments": (lambda p: p.chord([p.add.s(1, 1), p.add.s(2)], p.total.s(10)), "14"),
    "immutable body": (lambda p: p.chord([p.add.s(1, 1)] * 2, p.add.si(7)), "7"),
    "in a chain": (lambda p: chain(p.same.s(1), p.chord([p.add.s(1), p.add.s(2)], p.total.s()), p.add.s(10)), "15"),
    "a group in a chain": (lambda p: chain(p.same.s(1), group(p.add.s(1), p.add.s(2)), p.total.s()), "5"),
    "chains as members": (lambda p: p.chord([chain(p.add.s(1, 1), p.add.s(n)) for n in (1, 2)], p.total.s()), "7"),
    "chords as members": (
        lambda p: p.chord([p.chord([p.same.s(n), p.same.s(n)], p.total.s()) for n in (1, 2)], p.same.s()), "[2, 4]",
    ),
    "a group as member": (lambda p: p.chord([group(p.same.s(1), p.same.s(2)), p.same.s(3)], p.total.s()), "6"),
    "a group of chords": (
        lambda p: group([p.chord([p.same.s(n), p.same.s(1)], p.total.s()) for n in (1, 2)], app=p.app), "[2, 3]",
    ),
    "a chain as body": (lambda p: p.chord([p.same.s(1), p.same.s(2)], chain(p.total.s(), p.add.s(10))), "13"),
    "a chord as body": (
        lambda p: p.chord([p.same.s(1), p.same.s(2)], p.chord([p.total.s(), p.total.s(1)], p.same.s())), "[3, 4]",
    ),
    "a member that is retried": (lambda p: p.chord([p.second_time.s(1), p.same.s(2)], p.total.s()), "3"),
    "a member that is replaced": (lambda p: p.chord([p.instead.s(1), p.same.s(2)], p.total.s()), "4"),
}  # fmt: skip

BAD: dict[str, tuple[Canvas, str]] = {
    "a member fails": (lambda p: p.chord([p.same.s(1), p.refuse.s()], p.total.s()), "ValueError('refused')"),
    "all members fail": (lambda p: p.chord([p.refuse.s(), p.refuse.s()], p.total.s()), "ValueError('refused')"),
    "its body fails": (lambda p: p.chord([p.same.s(1), p.same.s(2)], p.refuse.s()), "ValueError('refused')"),
    "a link of a member fails": (
        lambda p: p.chord([chain(p.same.s(1), p.refuse.s()), p.same.s(2)], p.total.s()), "ValueError('refused')",
    ),
    "it fails in a chain": (
        lambda p: chain(p.same.s(1), p.chord([p.add.s(1), p.refuse.s()], p.total.s())), "ValueError('refused')",
    ),
    "a member takes too long": (lambda p: p.chord([p.same.s(1), p.hang.s()], p.total.s()), "TimeLimitExceeded"),
    "a member's process dies": (lambda p: p.chord([p.same.s(1), p.die.s()], p.total.s()), "WorkerLostError"),
}  # fmt: skip


@pytest.mark.parametrize("case", GOOD)
def test_results_are_the_same(both: dict[str, Plain], case: str) -> None:
    canvas, expected = GOOD[case]
    theirs, ours = (repr(canvas(plain).apply_async().get(timeout=SECONDS)) for plain in both.values())
    assert theirs == expected
    assert ours == theirs


@pytest.mark.filterwarnings("ignore::celery.exceptions.CPendingDeprecationWarning")  # of errbacks on headers
@pytest.mark.parametrize("case", BAD)
def test_errors_are_the_same_and_are_told_once(both: dict[str, Plain], case: str) -> None:
    canvas, expected = BAD[case]
    theirs, ours = (failure(plain, canvas(plain)) for plain in both.values())
    assert theirs[0] == states.FAILURE
    assert expected in theirs[1]
    assert ours == theirs


def failure(plain: Plain, failing: Any) -> Told:
    """How a canvas fails, when it has told its errback once and nothing goes on."""
    backend: Any = plain.app.backend
    redis = backend.client
    redis.delete(ERRBACKS)
    failing.link_error(plain.note.s())
    found = told(failing.apply_async())
    eventually(lambda: redis.get(ERRBACKS), within=SECONDS, what="the errback is called")
    eventually(lambda: not redis.llen(CONTROL) + redis.hlen("unacked"), within=SECONDS, what="nothing goes on")
    assert redis.get(ERRBACKS) == b"1"
    return found
