"""`python -m orchestrator.engine APP worker|beat …`: these commands of Celery, with its options, in half the time.

`celery` loads all its commands before it runs one, an interactive shell and Flower among them.
"""

from __future__ import annotations

import gc
import importlib.metadata
import importlib.util
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from types import ModuleType, SimpleNamespace
from typing import Any

from celery import maybe_patch_concurrency

POOL = os.environ.get("CELERY_WORKER_POOL")
maybe_patch_concurrency([*sys.argv, *(("-P", POOL) if POOL else ())])  # before anything that `gevent` replaces
gc.disable()  # what is loaded stays: to look through it for garbage takes a tenth of a start

NOT_NEEDED = ("cffi", "greenlet", "pygments")
"""What Celery takes when it is installed: a parser of C, in each child, for one call that ctypes makes as well (we make
it besides), a way to tell threads apart that only pools of greenlets need, which have loaded it by now, and colours for
documents that neither command prints."""


@contextmanager
def _without(*packages: str) -> Iterator[None]:
    """Meanwhile, packages that nobody has loaded yet are as if they were not installed."""
    hidden = [name for name in packages if name not in sys.modules]
    modules: dict[str, Any] = sys.modules
    modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            del modules[name]


@contextmanager
def _hollow(package: str) -> Iterator[None]:
    """Meanwhile, a package has its modules, but loads none of them by itself; afterwards it is loaded, by whoever asks
    its parent for it or imports it."""
    if package in sys.modules:
        yield
        return
    parent, _, name = package.rpartition(".")
    spec = importlib.util.find_spec(parent)
    places = (spec.submodule_search_locations if spec else None) or ()
    sys.modules[package] = empty = ModuleType(package)
    empty.__path__ = [os.path.join(place, name) for place in places]
    try:
        yield
    finally:
        del sys.modules[package]
        outer = sys.modules[parent]
        vars(outer).pop(name, None)
        vars(outer)["__getattr__"] = partial(_loaded, outer, name)


def _loaded(outer: ModuleType, name: str, asked: str) -> ModuleType:
    if asked != name:
        raise AttributeError(f"module '{outer.__name__}' has no attribute '{asked}'")
    return importlib.import_module(f"{outer.__name__}.{name}")


_plugins = cache(importlib.metadata.entry_points)


@contextmanager
def _looking_once() -> Iterator[None]:
    """Meanwhile, all that is installed is looked through once for plugins: Celery, kombu and pydantic do it four
    times."""
    look = importlib.metadata.entry_points
    setattr(importlib.metadata, look.__name__, lambda **chosen: _plugins().select(**chosen))
    try:
        yield
    finally:
        setattr(importlib.metadata, look.__name__, look)


with _hollow("redis.asyncio"):
    import redis  # noqa: F401 - all of its other half as well, for whoever may use asyncio

with _without(*NOT_NEEDED), _looking_once():
    import kombu.matcher  # noqa: F401 - looks when it is loaded, as do others that come with these
    from celery.app.utils import find_app
    from celery.bin.base import CLIContext


def main(app: str, command: str, *arguments: str) -> Any:
    """Run one of the two commands in the foreground; ends with its exit status."""
    try:
        with _looking_once():
            context = CLIContext(app=find_app(app), no_color=False, workdir=None)
    except ModuleNotFoundError as error:
        if error.name != app:  # one that the app asks for: where it does so is of interest
            raise
        raise SystemExit(f"error: the app {app!r} is not there: {error}") from None
    loaded = _command(command)
    loaded.params.extend(context.app.user_options.get(command, ()))
    gc.freeze()
    gc.enable()
    return loaded.main(
        list(arguments), f"celery {command}", obj=context, auto_envvar_prefix=f"CELERY_{command.upper()}"
    )


def _command(name: str) -> Any:
    if name == "beat":
        from celery.bin.beat import beat

        return beat
    with _without("psutil"):
        import celery.apps.worker as running  # asks for it only to tell its memory
    from celery.bin.worker import worker
    from celery.utils import debug

    debug.Process = _process  # type: ignore[attr-defined]
    running._platform = SimpleNamespace(platform=_system)  # type: ignore[attr-defined]
    return worker


def _system() -> str:
    """What a worker's first lines call the system, without asking another program what its processor is."""
    try:
        told, library = os.uname(), os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):  # musl knows the name, and no answer
        return platform.platform()
    return f"{told.sysname}-{told.release}-{told.machine}-with-{library.replace(' ', '')}"


def _process(*given: Any) -> Any:
    """For `inspect memsample`, as ever."""
    import psutil

    return psutil.Process(*given)


if __name__ == "__main__":
    given = sys.argv[1:]
    if len(given) < 2 or given[1] not in ("worker", "beat"):
        raise SystemExit("usage: python -m orchestrator.engine APP worker|beat [OPTION]...")
    if {"-D", "--detach"} & set(given):
        raise SystemExit(f"error: this stays in the foreground; `celery -A {given[0]} {given[1]} --detach` does not")
    sys.argv = sys.orig_argv[1:]  # with which a worker that gets SIGHUP starts again
    main(*given)
