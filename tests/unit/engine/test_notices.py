"""What a worker and its children share."""

from __future__ import annotations

from collections.abc import Callable

from billiard.context import Process
from billiard.process import current_process

from orchestrator.engine.notices import CHILDREN, Notices


def in_child(act: Callable[[Notices], None], notices: Notices, index: int) -> None:
    """As the child of a pool with this index does it."""

    def run() -> None:
        setattr(current_process(), "index", index)  # noqa: B010 - as the pool does, which tells no type checker
        act(notices)

    child = Process(target=run)
    child.start()
    child.join(10)
    assert child.exitcode == 0


def test_children_tell_what_their_worker_does_not_see() -> None:
    notices = Notices()
    notices.open()
    for index in (0, 3, 3, CHILDREN + 5):
        in_child(Notices.begins, notices, index)
    for index in (0, 3):
        in_child(lambda shared: shared.waits(True), notices, index)
    assert (notices.begun, notices.waiting) == (4, 2)
    in_child(lambda shared: shared.waits(False), notices, 3)
    assert (notices.begun, notices.waiting) == (4, 1)
    assert not notices.stopping


def test_a_worker_tells_its_children() -> None:
    notices = Notices()
    notices.open()
    notices.drained = True

    def look(shared: Notices) -> None:
        assert (shared.drained, shared.stopping) == (True, False)

    in_child(look, notices, 0)
