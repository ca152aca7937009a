"""What the handlers of one Flower share: the client of its store, and threads for calls that block."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from typing import Any, ParamSpec, TypeVar, cast

from pydantic import SecretStr

from orchestrator.client import Client
from orchestrator.environment import Environment
from orchestrator.flower.feed import Feed
from orchestrator.views.reader import RunViews

P = ParamSpec("P")
R = TypeVar("R")

THREADS = 16
"""So many requests may wait for the store at a time; events are followed without a thread."""


class Service:
    """One per Flower. `capp` is the Celery application that it watches; without a store of its own, that of the
    environment is meant. Nothing is connected before the first request."""

    def __init__(self, capp: Any) -> None:
        self._capp = capp
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="workflows")
        self.watchers = 0
        """How many connections follow events."""

    @cached_property
    def environment(self) -> Environment:
        """What the environment says; variables of others are none of our business here."""
        return Environment.load(strict=False)

    @cached_property
    def client(self) -> Client:
        """The client of the deployment's store. Raises StoreUnavailable when none is configured."""
        runtime = getattr(self._capp, "orchestrator", None)
        if runtime is None:
            return Client(environment=self.environment)
        return Client(runtime.store_url, broker_url=self._capp.conf.broker_url, environment=self.environment)

    @cached_property
    def tokens(self) -> tuple[SecretStr, ...]:
        """What lets programs in."""
        return self.environment.api_tokens

    @cached_property
    def views(self) -> RunViews:
        """The documents of runs."""
        return RunViews(self.client)

    @cached_property
    def feed(self) -> Feed:
        """What happens, in each run and over all of them. First asked for on Flower's loop, to which it belongs."""
        return Feed(self.client.store_url)

    async def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run what blocks in a thread of ours: Flower's own are few, and its loop must never wait."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *args, **kwargs))


def service_of(application: Any) -> Service:
    """The service of this Flower, made at the first request."""
    if not hasattr(application, "workflows"):
        application.workflows = Service(application.capp)
    return cast(Service, application.workflows)
