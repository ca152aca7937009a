"""Scenes: tests that wait for seconds until something dead is missed. Those of a module are played side by side."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator import Client
from orchestrator.embedded import Stack, StackOptions
from tests.conftest import Store, empty_database
from tests.servers import ValkeyServer
from tests.workers import Worker

_SCENES: dict[tuple[str, str], Callable[[Place], None]] = {}
_ENVIRONMENT = threading.Lock()


@dataclass(frozen=True, slots=True)
class Place:
    """What a scene has for itself: an empty database, its client, and a folder."""

    store: Store
    client: Client
    folder: Path


Played = Mapping[str, "Future[None]"]


def scene(play: Callable[[Place], None]) -> Callable[[Played], None]:
    """A test that tells how its scene went. It is played in a thread of its own, which outlives all that it starts."""

    def test(played: Played) -> None:
        played[play.__name__].result()

    test.__name__, test.__doc__, test.__module__ = play.__name__, play.__doc__, play.__module__
    _SCENES[play.__module__, play.__name__] = play
    return test


@pytest.fixture(scope="module")
def played(
    request: pytest.FixtureRequest, valkey_server: ValkeyServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Played]:
    """Name -> scene, of all in this module that were asked for; they have begun."""
    module = request.module.__name__
    asked = [item.name for item in request.session.items if getattr(item, "module", None) is request.module]
    plays = {name: _SCENES[module, name] for name in asked if (module, name) in _SCENES}
    with ThreadPoolExecutor(max(1, len(plays))) as threads:
        yield {
            name: threads.submit(_played, play, empty_database(valkey_server), tmp_path_factory.mktemp(name[:40]))
            for name, play in plays.items()
        }


def _played(play: Callable[[Place], None], store: Store, folder: Path) -> None:
    with Client(store.url) as client:
        play(Place(store, client, folder))


@contextmanager
def started(*workers: Worker) -> Iterator[None]:
    """They start side by side; those that are still there in the end are killed: nobody needs their last words."""
    try:
        Worker.start_all(*workers)
        yield
    finally:
        for worker in workers:
            if worker.process is not None and worker.process.poll() is None:
                worker.kill()


@contextmanager
def supervised(url: str, options: StackOptions, **environment: str) -> Iterator[list[dict[str, Any]]]:
    """Processes that are kept alive as `orchestrator up` does it; yields what becomes of them."""
    told: list[dict[str, Any]] = []
    own = {"ORCHESTRATOR_STORE_URL": url, "ORCHESTRATOR_BROKER_URL": url, **environment}
    stack = Stack(options, lambda event: told.append(dict(event)))
    try:
        with _ENVIRONMENT, pytest.MonkeyPatch.context() as patch:
            for name, value in own.items():
                patch.setenv(name, value)
            stack.start()
        stack.wait_ready()
        yield told
    finally:
        stack.stop(idle=True)


def environment(**own: str) -> dict[str, str]:
    """That of a process which is started here: ours, without what is meant for others."""
    with _ENVIRONMENT:
        return {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")} | own
