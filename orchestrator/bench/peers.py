"""Other systems that do the same work in the same rounds, each with eight processes of its own."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from orchestrator.bench.frame import Setting
from orchestrator.bench.site import process_that_says
from orchestrator.errors import InvalidValue

CHILDREN = 8
TIMEOUT = 300.0
RAW, DRAMATIQ = 2, 3
"""Databases."""


class Peer(Protocol):
    """A system with its workers. Each call returns when the work is done; `database` is where its queues are."""

    name: str
    database: int | None

    def hops(self, length: int) -> None:
        """So many tasks without work, one after another."""

    def fan(self, width: int) -> None:
        """One task without work, so many side by side, and one that joins them."""

    def product(self, seconds: Mapping[str, float]) -> None:
        """The six agents of the documents' workflow."""


class RawCelery:
    """Celery's own chain and chord, as its documentation has them."""

    name = "raw Celery"
    database: int | None = RAW

    def __init__(self, module: Any) -> None:
        self._raw = module

    def hops(self, length: int) -> None:
        self._raw.hops(length).apply_async().get(timeout=TIMEOUT)

    def fan(self, width: int) -> None:
        self._raw.fan(width).apply_async().get(timeout=TIMEOUT)

    def product(self, seconds: Mapping[str, float]) -> None:
        self._raw.product(dict(seconds)).apply_async().get(timeout=TIMEOUT)


class Dramatiq:
    """Pipelines and groups; it has no graph, so that the client goes from one to the next."""

    name = "Dramatiq"
    database: int | None = DRAMATIQ

    def __init__(self, module: Any) -> None:
        self._app = module

    def hops(self, length: int) -> None:
        self._line([self._app.noop.message()] + [self._app.noop.message() for _ in range(length - 1)])

    def fan(self, width: int) -> None:
        self._line([self._app.noop.message()])
        self._side_by_side([self._app.noop.message() for _ in range(width)])
        self._line([self._app.noop.message()])

    def product(self, seconds: Mapping[str, float]) -> None:
        def task(name: str) -> Any:
            return self._app.sleep.message_with_options(args=(seconds[name],), pipe_ignore=True)

        self._line([task("analyst"), task("pm")])
        self._side_by_side([task("ux_expert"), task("architect")])
        self._line([task("developer"), task("qa")])

    def _line(self, messages: Sequence[Any]) -> None:
        from dramatiq import pipeline

        pipeline(messages).run().get_result(block=True, timeout=int(TIMEOUT * 1000))

    def _side_by_side(self, messages: Sequence[Any]) -> None:
        from dramatiq import group

        group(messages).run().wait(timeout=int(TIMEOUT * 1000))


class Dask:
    """Futures of `distributed`, with a scheduler and workers of its own."""

    name = "Dask"
    database: int | None = None

    def __init__(self, client: Any) -> None:
        self._client = client

    def hops(self, length: int) -> None:
        last = None
        for _ in range(length):
            last = self._submit(nothing, last)
        self._end(last)

    def fan(self, width: int) -> None:
        first = self._submit(nothing, None)
        self._end(self._submit(nothing, [self._submit(nothing, first) for _ in range(width)]))

    def product(self, seconds: Mapping[str, float]) -> None:
        def task(name: str, *needs: Any) -> Any:
            return self._submit(pause, seconds[name], *needs)

        pm = task("pm", task("analyst"))
        self._end(task("qa", task("developer", task("ux_expert", pm), task("architect", pm))))

    def _submit(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return self._client.submit(work, *arguments, pure=False)

    def _end(self, future: Any) -> None:
        future.result(timeout=TIMEOUT)


def nothing(*_: Any) -> None:
    """No work at all."""


def pause(seconds: float, *_: Any) -> None:
    """Work of a known length."""
    time.sleep(seconds)


@contextmanager
def dramatiq(setting: Setting) -> Iterator[Peer]:
    """Dramatiq with Redis for queues and results."""
    os.environ["DRAMATIQ_URL"] = setting.server.url(DRAMATIQ)
    module = importlib.import_module("orchestrator.bench.dramatiq_app")
    module = importlib.reload(module)
    command = [sys.executable, "-m", "dramatiq", module.__name__, "-p", str(CHILDREN), "-t", "1"]
    given = {"DRAMATIQ_URL": os.environ["DRAMATIQ_URL"]}
    log = setting.folder / "dramatiq.log"
    with process_that_says(b"is ready for action", command, given, log, times=CHILDREN):
        yield Dramatiq(module)


@contextmanager
def dask(setting: Setting) -> Iterator[Peer]:
    """A local cluster of Dask's `distributed`."""
    from distributed import Client, LocalCluster

    options = {"n_workers": CHILDREN, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        yield Dask(client)


PEERS: Mapping[str, Callable[[Setting], AbstractContextManager[Peer]]] = {"dask": dask, "dramatiq": dramatiq}
"""Those that may be named, beside raw Celery, which always takes part."""

_PACKAGES = {"dask": "distributed", "dramatiq": "dramatiq"}


def check(names: Sequence[str]) -> None:
    """Raises InvalidValue, before anything is measured, for a peer that is not installed."""
    for name in names:
        try:
            importlib.import_module(_PACKAGES[name])
        except ImportError as error:
            raise InvalidValue(f"{name} is not installed: install orchestrator[peers]") from error
