"""`python -m orchestrator.engine APP worker|beat …`: these commands of Celery, with its options, in half the time.

`celery` loads all its commands before it runs one, an interactive shell and Flower among them.
"""

from __future__ import annotations

import gc
import sys
from typing import Any

from celery import maybe_patch_concurrency

maybe_patch_concurrency()  # before anything else is imported that `--pool gevent` replaces

from celery.app.utils import find_app  # noqa: E402
from celery.bin.base import CLIContext  # noqa: E402


def main(app: str, command: str, *arguments: str) -> Any:
    """Run one of the two commands in the foreground; ends with its exit status."""
    gc.disable()  # what is loaded stays: to look through it for garbage takes a tenth of a start
    try:
        context = CLIContext(app=find_app(app), no_color=False, workdir=None)
    except ModuleNotFoundError as error:
        if error.name != app:  # one that the app asks for: where it does so is of interest
            raise
        raise SystemExit(f"error: the app {app!r} is not there: {error}") from None
    loaded = _command(command)
    gc.enable()
    return loaded.main(list(arguments), f"celery {command}", obj=context)


def _command(name: str) -> Any:
    if name == "beat":
        from celery.bin.beat import beat

        return beat
    from celery.bin.worker import worker

    return worker


if __name__ == "__main__":
    main(*sys.argv[1:])
